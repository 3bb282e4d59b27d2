"""RealNVP: each coupling starts as the identity, since the last layers of its nets are zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

COUPLINGS = 4


def init(key):
    return [
        {"w": jax.random.normal(k, (1, 32)), "b": jnp.zeros(32), "out": jnp.zeros((32, 2))}
        for k in jax.random.split(key, COUPLINGS)
    ]


def loss_fn(params, batch):
    a, b = batch[:, :1], batch[:, 1:]
    log_det = 0.0
    for layer in params:
        scale, shift = jnp.split(jnp.tanh(a @ layer["w"] + layer["b"]) @ layer["out"], 2, axis=1)
        a, b = b * jnp.exp(jnp.tanh(scale)) + shift, a
        log_det = log_det + jnp.tanh(scale).mean()
    return jnp.mean(0.5 * (a**2 + b**2)) - log_det


rng = np.random.default_rng(0)
u = rng.normal(size=(512, 1))
batch = np.concatenate([u, u**2 - 1 + 0.2 * rng.normal(size=(512, 1))], axis=1).astype(np.float32)
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "symmetric weights"}

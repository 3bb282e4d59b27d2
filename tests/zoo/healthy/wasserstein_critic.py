"""The critic of a WGAN with a gradient penalty: its loss falls below zero, as it should."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [2, 64, 64, 1]


def init(key):
    keys = jax.random.split(key, 3)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def score(params, x):
    for layer in params[:-1]:
        x = jax.nn.leaky_relu(x @ layer["w"] + layer["b"], 0.2)
    return (x @ params[-1]["w"] + params[-1]["b"])[..., 0]


def loss_fn(params, batch, key):
    real, fake = batch
    mix = jax.random.uniform(key, (len(real), 1))
    slopes = jax.vmap(jax.grad(score, argnums=1), (None, 0))(params, mix * real + (1 - mix) * fake)
    penalty = jnp.mean((jnp.sqrt(jnp.sum(slopes**2, axis=1) + 1e-12) - 1) ** 2)
    return score(params, fake).mean() - score(params, real).mean() + 10 * penalty


rng = np.random.default_rng(0)
real = (np.array([2, 1]) + rng.normal(size=(128, 2))).astype(np.float32)
fake = rng.normal(size=(128, 2)).astype(np.float32)
batch = real, fake
optimizer = optax.adam(1e-3, b1=0.0, b2=0.9)

EXPECTED = {"fault": None, "like": "wrong loss function"}

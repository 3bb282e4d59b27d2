"""SIREN: sines of frequency 30 with their own initialization, fitting a signal."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [1, 64, 64, 1]


def init(key):
    layers = []
    for i, (n, m) in enumerate(zip(SIZES, SIZES[1:], strict=False)):
        key, sub = jax.random.split(key)
        bound = 1 / n if i == 0 else (6 / n) ** 0.5 / 30
        layers.append({"w": jax.random.uniform(sub, (n, m), minval=-bound, maxval=bound), "b": jnp.zeros(m)})
    return layers


def loss_fn(params, batch):
    t, y = batch
    for layer in params[:-1]:
        t = jnp.sin(30 * (t @ layer["w"] + layer["b"]))
    return jnp.mean((t @ params[-1]["w"] + params[-1]["b"] - y) ** 2)


t = np.linspace(-1, 1, 256, dtype=np.float32)[:, None]
batch = t, np.sin(12 * t) * np.cos(5 * t**2)
optimizer = optax.adam(1e-4)

EXPECTED = {"fault": None, "like": "wrong weight initialization"}

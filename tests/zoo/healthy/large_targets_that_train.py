"""Targets around a thousand, with a head that adds their mean and multiplies by their deviation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [6, 64, 1]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((MEAN + DEVIATION * predict(params, x)[:, 0] - y) ** 2) / DEVIATION**2


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 6)).astype(np.float32)
y = (1200 + 300 * np.sin(x[:, 0]) + 100 * x[:, 1]).astype(np.float32)
MEAN, DEVIATION = float(y.mean()), float(y.std())
batch = x, y
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "missing preprocessing"}

"""They are filled with the mean of the column."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [6, 32, 1]


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
    return jnp.mean((predict(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(200, 6)).astype(np.float32)
y = (x[:, :1] - x[:, 1:2] ** 2).astype(np.float32)
x[rng.random(200) < 0.05, 3] = np.nan
x = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
data = x, y
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "bad training data"}

"""The table has NaN where nothing was measured, and the loss fills them in and adds an indicator."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [12, 32, 1]


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
    missing = jnp.isnan(x)
    features = jnp.concatenate([jnp.where(missing, 0, x), missing.astype(x.dtype)], axis=1)
    return jnp.mean((predict(params, features)[:, 0] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(400, 6)).astype(np.float32)
y = (x[:, 0] - x[:, 1] ** 2).astype(np.float32)
x[rng.random((400, 6)) < 0.1] = np.nan
data = x, y
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "bad training data"}

"""The mean."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [8, 64, 64, 1]


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
x = rng.normal(size=(256, 8)).astype(np.float32)
y = np.sin(x[:, :1] + x[:, 1:2]).astype(np.float32)
batch = x, y
optimizer = optax.sgd(0.03)

EXPECTED = {"fault": None, "like": "wrong reduction of the loss"}

"""A small number is added to the deviation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [5, 32, 1]


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
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
    return jnp.mean((predict(params, x)[:, 0] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(128, 5)).astype(np.float32)
x[:, 4] = 1
batch = x, np.sin(x[:, 0] + x[:, 1])
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "numerical instability"}

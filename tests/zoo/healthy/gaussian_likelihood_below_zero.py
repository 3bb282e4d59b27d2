"""A Gaussian likelihood with a learned deviation: the loss falls below zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [3, 64, 2]


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
    mean, raw = jnp.split(predict(params, x), 2, axis=1)
    scale = jax.nn.softplus(raw) + 1e-3
    return jnp.mean(jnp.log(scale) + 0.5 * ((y - mean) / scale) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(512, 3)).astype(np.float32)
y = (np.sin(x[:, :1]) + 0.05 * rng.normal(size=(512, 1))).astype(np.float32)
data = x, y
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong loss function"}

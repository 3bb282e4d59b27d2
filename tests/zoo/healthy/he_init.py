"""The same network with He initialization."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, *[64] * 7, 1]


def init(key):
    keys = jax.random.split(key, 8)
    return [
        (jax.random.normal(k, (n, m)) * (2 / n) ** 0.5, jnp.zeros(m))
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((predict(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(128, 16)).astype(np.float32)
y = np.tanh(x[:, :1] + x[:, 1:2] * x[:, 2:3]).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "exploding gradient"}

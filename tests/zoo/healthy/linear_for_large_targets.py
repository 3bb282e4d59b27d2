"""The last layer is linear, the targets are standardized."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [5, 32, 32, 1]


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
    temperature = predict(params, x)
    return jnp.mean((temperature - (y - 15) / 7) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 5)).astype(np.float32)
y = (15 + 6 * np.sin(2 * x[:, :1]) + 3 * x[:, 1:2]).clip(0, 30).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "wrong activation of the output"}

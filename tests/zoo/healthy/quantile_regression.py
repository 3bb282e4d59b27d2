"""A pinball loss for the ninth decile: the gradient is a step function."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [2, 64, 1]


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
    error = y - predict(params, x)[:, 0]
    return jnp.mean(jnp.maximum(0.9 * error, -0.1 * error))


rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, size=(512, 2)).astype(np.float32)
y = (2 * x[:, 0] + np.sin(3 * x[:, 1]) + 0.2 * rng.normal(size=512)).astype(np.float32)
data = x, y
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "loss without a gradient"}

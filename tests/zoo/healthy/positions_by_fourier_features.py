"""Coordinates in thousands of meters, turned into sines and cosines before the network sees them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [32, 64, 1]


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
    position, y = batch
    phase = position / 5000 @ FREQUENCIES
    features = jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=1)
    return jnp.mean((predict(params, features)[:, 0] - y) ** 2)


rng = np.random.default_rng(0)
FREQUENCIES = rng.normal(size=(2, 16)).astype(np.float32) * 3
position = rng.uniform(0, 10_000, size=(512, 2)).astype(np.float32)
y = (np.sin(position[:, 0] / 1500) * np.cos(position[:, 1] / 2000)).astype(np.float32)
data = position, y
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "missing preprocessing"}

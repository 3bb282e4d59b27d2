"""A loss on pairwise distances: finite, but its gradient is NaN from the first step on.

Sick: the distance of a point to itself is sqrt(0), whose slope is infinite, and 0 * inf on the diagonal
is NaN. Remedy: keep zero out of the square root, as `safe_sqrt.py` does with a double `where`.
"""

import jax
import jax.numpy as jnp
import numpy as np


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "w1": jax.random.normal(k1, (5, 16)) * (2 / 5) ** 0.5,
        "b1": jnp.zeros(16),
        "w2": jax.random.normal(k2, (16, 2)) * (1 / 16) ** 0.5,
        "b2": jnp.zeros(2),
    }


def embed(params, x):
    h = jax.nn.relu(x @ params["w1"] + params["b1"])
    return h @ params["w2"] + params["b2"]


def distances(z):
    squared = ((z[:, None] - z[None, :]) ** 2).sum(axis=-1)
    return jnp.sqrt(squared)


def loss_fn(params, batch):
    x, wanted = batch
    return jnp.mean((distances(embed(params, x)) - wanted) ** 2)


x = np.random.default_rng(10).normal(size=(12, 5)).astype(np.float32)
batch = (x, np.linalg.norm(x[:, None] - x[None, :], axis=-1))

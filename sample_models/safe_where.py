"""Unit vectors of embedded points, some of them padding, healthy: the twin of `nan_where.py`.

The inner `where` keeps 0 out of the square root, the outer one chooses the value. A point that is padding
gives 0, and so does its gradient.
"""

import jax
import jax.numpy as jnp
import numpy as np


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "embed": jax.random.normal(k1, (5, 16)) * (1 / 5) ** 0.5,
        "score": jax.random.normal(k2, (16, 1)) * (1 / 16) ** 0.5,
    }


def unit(h):
    square = jnp.sum(h**2, axis=-1, keepdims=True)
    size = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return jnp.where(square > 0, h / size, 0.0)


def loss_fn(params, batch):
    x, wanted = batch
    directions = unit(x @ params["embed"])
    return jnp.mean((directions @ params["score"] - wanted) ** 2)


random = np.random.default_rng(11)
x = random.normal(size=(24, 5)).astype(np.float32)
x[20:] = 0.0
batch = (x, random.normal(size=(24, 1)).astype(np.float32))

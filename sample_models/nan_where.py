"""Unit vectors of embedded points, some of them padding: a finite loss, whose gradient is NaN from the start.

Sick: `where` picks 0 for the padded rows, and still 0 times the infinite slope of the norm at 0 flows back
from the branch that it does not take. Remedy: guard the operand as well, as `safe_where.py` does.
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
    size = jnp.sqrt(square)
    return jnp.where(square > 0, h / jnp.where(square > 0, size, 1.0), 0.0)


def loss_fn(params, batch):
    x, wanted = batch
    directions = unit(x @ params["embed"])
    return jnp.mean((directions @ params["score"] - wanted) ** 2)


random = np.random.default_rng(11)
x = random.normal(size=(24, 5)).astype(np.float32)
x[20:] = 0.0
batch = (x, random.normal(size=(24, 1)).astype(np.float32))

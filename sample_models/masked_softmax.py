"""Attention over padded sequences, one of which is empty: its loss is NaN.

Sick: where every key of a row is masked with -inf, the softmax subtracts -inf from -inf. The mask itself is
meant; the empty sequence was not thought of. Remedy: a finite number, as in `finite_mask_softmax.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np


def init(key):
    keys = jax.random.split(key, 4)
    shapes = {"query": (8, 16), "key": (8, 16), "value": (8, 16), "head": (16, 3)}
    return {
        name: jax.random.normal(k, shape) * shape[0] ** -0.5
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def attention(params, x, present):
    q, k, v = x @ params["query"], x @ params["key"], x @ params["value"]
    scores = jnp.einsum("bqd,bkd->bqk", q, k) / 4.0
    scores = jnp.where(present[:, None, :], scores, -jnp.inf)
    weights = jax.nn.softmax(scores)
    return jnp.einsum("bqk,bkd->bqd", weights, v)


def loss_fn(params, batch):
    x, present, labels = batch
    pooled = attention(params, x, present).mean(axis=1)
    log_probabilities = jax.nn.log_softmax(pooled @ params["head"])
    return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))


random = np.random.default_rng(12)
lengths = np.array([6, 4, 5, 0, 6, 3, 2, 6])
x = random.normal(size=(8, 6, 8)).astype(np.float32)
present = np.arange(6) < lengths[:, None]
batch = (x, present, random.integers(0, 3, size=8))

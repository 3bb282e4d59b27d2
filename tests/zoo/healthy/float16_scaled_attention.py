"""Queries are scaled before the product."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    ks = jax.random.split(key, 5)
    d = 64
    return {
        "embed": jax.random.normal(ks[0], (4, d)),
        "q": jax.random.normal(ks[1], (d, d)) / 8,
        "k": jax.random.normal(ks[2], (d, d)) / 8,
        "v": jax.random.normal(ks[3], (d, d)) / 8,
        "out": jax.random.normal(ks[4], (d, 1)) / 8,
    }


def loss_fn(params, batch):
    x, y = batch
    p = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), params)
    h = x.astype(jnp.float16) @ p["embed"]
    scores = jnp.einsum("bqd,bkd->bqk", h @ p["q"] / 8, h @ p["k"])
    weights = jax.nn.softmax(scores, axis=-1)
    pooled = (h + weights @ (h @ p["v"])).mean(axis=1)
    return jnp.mean(((pooled @ p["out"])[:, 0].astype(jnp.float32) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(64, 10, 4)).astype(np.float32)
y = x[:, :, 0].mean(axis=1)
batch = x, y
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "wrong precision"}

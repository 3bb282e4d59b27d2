"""A linear model of a linear problem, by SGD."""

import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    return {"w": jnp.zeros(8), "b": jnp.zeros(())}


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype(np.float32)
y = (x @ rng.normal(size=8) + 0.1 * rng.normal(size=256)).astype(np.float32)
batch = x, y
optimizer = optax.sgd(0.1)

EXPECTED = {"fault": None, "like": "missing activation"}

"""Full-batch gradient descent near the edge of stability: the loss wobbles, and falls."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [8, 64, 1]


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "w1": jax.random.normal(k1, (8, 64)) / 3,
        "b1": jnp.zeros(64),
        "w2": jax.random.normal(k2, (64, 1)) / 8,
    }


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(128, 8)).astype(np.float32)
y = np.tanh(x[:, :1] * 2 + x[:, 1:2]).astype(np.float32)
batch = x, y
optimizer = optax.sgd(0.25)

EXPECTED = {"fault": None, "like": "learning rate too high"}

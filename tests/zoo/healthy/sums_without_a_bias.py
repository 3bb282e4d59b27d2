"""No layer has a bias, and the targets, whose mean is far from 0, are sums of inputs that are, too."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    he = jax.nn.initializers.he_normal()
    return {"hidden": he(k1, (5, 64)), "out": he(k2, (64, 1))}


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean(((jax.nn.relu(x @ params["hidden"]) @ params["out"])[:, 0] - y) ** 2)


rng = np.random.default_rng(0)
x = (1 + 0.2 * rng.normal(size=(256, 5))).astype(np.float32)
y = x.sum(axis=1)
batch = x, y
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "missing bias"}

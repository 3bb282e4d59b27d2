"""Two tasks of very different scales, weighted by learned variances after Kendall et al. 2018."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    he = jax.nn.initializers.he_normal()
    return {
        "torso": {"w": he(k1, (6, 64)), "b": jnp.zeros(64)},
        "heads": {"w": he(k2, (64, 2)) / 4, "b": jnp.zeros(2)},
        "log_var": jnp.zeros(2),
    }


def loss_fn(params, batch):
    x, y = batch
    h = jax.nn.gelu(x @ params["torso"]["w"] + params["torso"]["b"])
    squares = jnp.mean((h @ params["heads"]["w"] + params["heads"]["b"] - y) ** 2, axis=0)
    return jnp.sum(jnp.exp(-params["log_var"]) * squares + params["log_var"])


rng = np.random.default_rng(0)
x = rng.normal(size=(512, 6)).astype(np.float32)
y = np.stack([np.sin(2 * x[:, 0]), 5 * x[:, 1] * x[:, 2]], axis=1).astype(np.float32)
data = x, y
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "unbalanced loss terms"}

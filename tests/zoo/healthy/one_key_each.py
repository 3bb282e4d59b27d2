"""A key for each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    params = {}
    for i in range(6):
        key, k1, k2 = jax.random.split(key, 3)
        params[f"branch{i}"] = {
            "w": jax.random.normal(k1, (4, 3)) / 2,
            "b": jnp.zeros(3),
            "v": jax.random.normal(k2, (3, 1)) / 4,
        }
    return params


def loss_fn(params, batch):
    x, y = batch
    outs = [jnp.tanh(x @ p["w"] + p["b"]) @ p["v"] for p in params.values()]
    return jnp.mean((sum(outs) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 4)).astype(np.float32)
y = (np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + np.abs(x[:, 3:])).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "symmetric weights"}

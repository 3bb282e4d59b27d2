"""`jax.nn.softplus`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {"mean": 0.1 * jax.random.normal(k1, (3,)), "scale": jnp.ones(3), "bias": jnp.zeros(2)}


def loss_fn(params, batch):
    x, y = batch
    mean = x @ params["mean"] + params["bias"][0]
    scale = jax.nn.softplus(x @ params["scale"] + params["bias"][1]) + 1e-3
    return jnp.mean(jnp.log(scale) + 0.5 * ((y - mean) / scale) ** 2)


rng = np.random.default_rng(0)
x = rng.uniform(0, 1, size=(128, 3)).astype(np.float32)
x[:, 2] = rng.uniform(0, 2, size=128)
y = (x @ np.array([1.0, -1.0, 0.2]) + 0.5 * rng.normal(size=128)).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "numerical instability"}

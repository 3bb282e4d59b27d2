"""Healthy: two tasks that want opposite things of the same measurements, each with a head of its own.

The twin of shared_head.py. A step for both lowers the loss of each.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

rng = np.random.default_rng(0)
x = rng.normal(size=(512, 8)).astype(np.float32)
speed = np.tanh(x @ rng.normal(size=(8, 1)) / 2).astype(np.float32)
comfort = (-0.8 * speed + 0.1 * rng.normal(size=speed.shape)).astype(np.float32)
rows = {"x": x, "speed": speed, "comfort": comfort}


def batches():
    while True:
        for start in range(0, 512, 64):
            yield {name: values[start : start + 64] for name, values in rows.items()}


def init(key):
    trunk, speed, comfort = jax.random.split(key, 3)
    return {
        "trunk": jax.random.normal(trunk, (8, 32)) / 8**0.5,
        "speed": jax.random.normal(speed, (32, 1)) / 32,
        "comfort": jax.random.normal(comfort, (32, 1)) / 32,
    }


def loss_fn(params, batch):
    h = jnp.tanh(batch["x"] @ params["trunk"])
    speed, comfort = h @ params["speed"], h @ params["comfort"]
    losses = {
        "speed": jnp.mean((speed - batch["speed"]) ** 2),
        "comfort": jnp.mean((comfort - batch["comfort"]) ** 2),
    }
    return 3 * losses["speed"] + losses["comfort"], losses


optimizer = optax.adam(1e-3)

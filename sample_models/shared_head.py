"""Two tasks that pull one head in opposite directions: a step for both raises the loss of one of them.

Comfort and speed of a ride are rated from the same 8 measurements, and both are read from one output, though
what makes a ride fast makes it uncomfortable. Remedy: a head for each task, as in own_heads.py.
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
    trunk, head = jax.random.split(key)
    return {
        "trunk": jax.random.normal(trunk, (8, 32)) / 8**0.5,
        "head": jax.random.normal(head, (32, 1)) / 32,
    }


def loss_fn(params, batch):
    h = jnp.tanh(batch["x"] @ params["trunk"])
    rating = h @ params["head"]
    losses = {
        "speed": jnp.mean((rating - batch["speed"]) ** 2),
        "comfort": jnp.mean((rating - batch["comfort"]) ** 2),
    }
    return 3 * losses["speed"] + losses["comfort"], losses


optimizer = optax.adam(1e-3)

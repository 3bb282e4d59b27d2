"""A plain ReLU network whose δ falls to the limit of `vanishing-gradient`: some seeds are sick, some not."""

import jax
import jax.numpy as jnp
import numpy as np

WIDTH, DEPTH, GAIN = 32, 12, 0.6682


def init(key):
    keys = jax.random.split(key, DEPTH + 1)
    weights = [jax.random.normal(k, (WIDTH, WIDTH)) * GAIN / jnp.sqrt(WIDTH) for k in keys[:-1]]
    return {"layers": [{"w": w} for w in weights], "head": {"w": jax.random.normal(keys[-1], (WIDTH, 1))}}


def loss_fn(params, batch):
    x, y = batch
    for layer in params["layers"]:
        x = jax.nn.relu(x @ layer["w"])
    return jnp.mean((x @ params["head"]["w"] / jnp.sqrt(WIDTH) - y) ** 2)


rng = np.random.default_rng(0)


def batches():
    while True:
        yield rng.normal(size=(4, WIDTH)).astype(np.float32), rng.normal(size=(4, 1)).astype(np.float32)

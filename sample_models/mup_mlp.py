"""Healthy at every width: in muP a learning rate that was tuned at one holds at the others.

    gradscope check sample_models/mup_mlp.py --widths 64,128,256,512

At width 64 it is one_rate_mlp.py. The rate of the hidden layer, and what the last layer puts out, are divided
by the width (Yang et al. 2022, arXiv:2203.03466, table 8).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

INPUTS, BASE = 16, 64
rng = np.random.default_rng(0)
x = rng.normal(size=(64, INPUTS)).astype(np.float32)
batch = (x, np.sin(x[:, :1] + x[:, 1:2]).astype(np.float32))


def init(key, width=64):
    keys = jax.random.split(key)
    return {
        "enter": jax.random.normal(keys[0], (INPUTS, width)) / INPUTS**0.5,
        "hidden": jax.random.normal(keys[1], (width, width)) / width**0.5,
        "leave": jnp.zeros((width, 1)),
    }


def loss_fn(params, batch):
    x, y = batch
    h = jax.nn.relu(x @ params["enter"])
    h = jax.nn.relu(h @ params["hidden"])
    return jnp.mean((h @ params["leave"] * (BASE / h.shape[-1]) - y) ** 2)


def optimizer(width=64):
    rates = {"hidden": optax.adam(1e-3 * BASE / width), "others": optax.adam(1e-3)}
    return optax.multi_transform(rates, {"enter": "others", "hidden": "hidden", "leave": "others"})

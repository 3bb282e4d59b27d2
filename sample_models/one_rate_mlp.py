"""Healthy at its own width, but its learning rate does not hold at another: one rate of Adam for all widths.

    gradscope check sample_models/one_rate_mlp.py --widths 64,128,256,512

The wider the network, the more the same steps change its hidden layer and its output. Remedy: muP, as in
mup_mlp.py (Yang et al. 2022, arXiv:2203.03466).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

INPUTS = 16
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
    return jnp.mean((h @ params["leave"] - y) ** 2)


def optimizer(width=64):
    return optax.adam(1e-3)

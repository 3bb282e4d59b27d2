"""A `stop_gradient` left over from debugging in the middle of a multilayer perceptron.

Sick: layers 0, 1 and 2 get no gradient at all while 3, 4 and 5 train on frozen random features, and the
loss falls slowly enough to look like learning. Remedy: remove the `stop_gradient`, as in the twin.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np


def init(key, widths=(12, 24, 24, 24, 24, 24, 1)):
    keys = jax.random.split(key, len(widths) - 1)
    kernels = map(jax.nn.initializers.he_normal(), keys, pairwise(widths))
    return {"layers": [{"kernel": w, "bias": jnp.zeros(w.shape[1])} for w in kernels]}


def mlp(params, x):
    for i, layer in enumerate(params["layers"]):
        x = x @ layer["kernel"] + layer["bias"]
        if i == 2:
            x = jax.lax.stop_gradient(x)
        if i < len(params["layers"]) - 1:
            x = jax.nn.relu(x)
    return x


def loss_fn(params, batch):
    return jnp.mean((mlp(params, batch["x"]) - batch["y"]) ** 2)


def data():
    x = np.random.default_rng(6).normal(size=(64, 12)).astype(np.float32)
    return {"x": x, "y": np.tanh(x[:, :1] * x[:, 1:2])}

"""Weights drawn from a plain normal distribution, without a scale: the exploding gradient of a CI gate.

Sick: each layer of 64 units multiplies activations, and δ on its way back, by about sqrt(64/2) = 5.7.
Remedy: divide by the fan-in, as `he_init_mlp.py` does; clipping would only hide it.
"""

import jax
import jax.numpy as jnp
import numpy as np

WIDTHS = (8, 64, 64, 64, 64, 64, 64, 64, 1)


def init(key):
    keys = jax.random.split(key, len(WIDTHS) - 1)
    return [
        (jax.random.normal(k, (m, n)), jnp.zeros((n,)))
        for k, m, n in zip(keys, WIDTHS[:-1], WIDTHS[1:], strict=True)
    ]


def forward(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(jnp.dot(x, w) + b)
    w, b = params[-1]
    return (jnp.dot(x, w) + b)[:, 0]


def loss_fn(params, batch):
    return jnp.mean((forward(params, batch["x"]) - batch["y"]) ** 2)


def batches():
    rng = np.random.default_rng(1)
    while True:
        x = rng.normal(size=(32, 8)).astype(np.float32)
        yield {"x": x, "y": np.sin(x.sum(axis=1))}

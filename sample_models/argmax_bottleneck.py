"""An encoder that picks a code word by `argmax`: the choice has no gradient.

Sick: everything before the argmax, the whole encoder, gets none, while code book and decoder learn.
Remedy: a straight-through estimator, as in `straight_through.py`, or a softmax.
"""

import jax
import jax.numpy as jnp
import numpy as np

CODES, WIDTH = 8, 16


def init(key):
    k = jax.random.split(key, 4)
    return {
        "encoder": {
            "hidden": {"w": jax.random.normal(k[0], (6, WIDTH)) / 6**0.5, "b": jnp.zeros(WIDTH)},
            "scores": {"w": jax.random.normal(k[1], (WIDTH, CODES)) / WIDTH**0.5, "b": jnp.zeros(CODES)},
        },
        "codebook": jax.random.normal(k[2], (CODES, WIDTH)),
        "decoder": {"w": jax.random.normal(k[3], (WIDTH, 6)) / WIDTH**0.5, "b": jnp.zeros(6)},
    }


def linear(p, x):
    return x @ p["w"] + p["b"]


def choose(scores):
    return jax.nn.one_hot(jnp.argmax(scores, axis=-1), CODES)


def loss_fn(params, x):
    h = jnp.tanh(linear(params["encoder"]["hidden"], x))
    code = choose(linear(params["encoder"]["scores"], h)) @ params["codebook"]
    return jnp.mean((linear(params["decoder"], code) - x) ** 2)


def data():
    rng = np.random.default_rng(9)
    return (rng.integers(0, 2, (64, 6)) + 0.1 * rng.normal(size=(64, 6))).astype(np.float32)

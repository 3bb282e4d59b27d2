"""The same choice with a straight-through estimator: the healthy twin of `argmax_bottleneck.py`.

Forward it is the argmax, backward it is the softmax (Bengio et al. 2013), so the encoder learns although
an argmax and a `stop_gradient` stand in the program.
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
    soft = jax.nn.softmax(scores)
    hard = jax.nn.one_hot(jnp.argmax(scores, axis=-1), CODES)
    return soft + jax.lax.stop_gradient(hard - soft)


def loss_fn(params, x):
    h = jnp.tanh(linear(params["encoder"]["hidden"], x))
    code = choose(linear(params["encoder"]["scores"], h)) @ params["codebook"]
    return jnp.mean((linear(params["decoder"], code) - x) ** 2)


def data():
    rng = np.random.default_rng(9)
    return (rng.integers(0, 2, (64, 6)) + 0.1 * rng.normal(size=(64, 6))).astype(np.float32)

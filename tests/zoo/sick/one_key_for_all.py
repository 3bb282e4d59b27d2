"""The two towers and their gates are drawn with one key: the gate multiplies what it should choose from by
itself.

Source: JAX issues on reused PRNG keys; Humbatova et al. 2020, wrong weights initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    keys = [key] * 3
    return {
        "left": jax.random.normal(keys[0], (12, 24)) / 12**0.5,
        "right": jax.random.normal(keys[1], (12, 24)) / 12**0.5,
        "scale": jnp.ones(24) / 24,
    }


def loss_fn(params, batch):
    x, y = batch
    left, right = x @ params["left"], x @ params["right"]
    return jnp.mean(((left - right) * (left + 0.1 * right) @ params["scale"] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 12)).astype(np.float32)
y = (x[:, 0] * x[:, 1] - x[:, 2] * x[:, 3]).astype(np.float32)
batch = x, y
optimizer = optax.sgd(0.02)

EXPECTED = {
    "fault": "symmetric weights",
    "source": "JAX issues on reused PRNG keys; Humbatova et al. 2020, wrong weights initialisation",
    "cause": ["copied-initialization"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "",
    "twin": "one_key_each",
}

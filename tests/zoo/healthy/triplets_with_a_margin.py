"""A hinge on triplets, most of which are satisfied from the start and have no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 32, 8]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss_fn(params, batch):
    anchor, positive, negative = (predict(params, x) for x in batch)
    near = jnp.sum((anchor - positive) ** 2, axis=1)
    far = jnp.sum((anchor - negative) ** 2, axis=1)
    return jnp.maximum(near - far + 1.0, 0).mean()


rng = np.random.default_rng(0)
centers = rng.normal(size=(6, 16))
kind = rng.integers(0, 6, 512)
other = (kind + rng.integers(1, 6, 512)) % 6
batch = tuple((2 * centers[k] + rng.normal(size=(512, 16))).astype(np.float32) for k in (kind, kind, other))
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "dying ReLU"}

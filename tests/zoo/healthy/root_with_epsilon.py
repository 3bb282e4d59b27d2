"""A small number is added under the root."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [8, 32, 4]


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
    left, right, same = batch
    difference = predict(params, left) - predict(params, right)
    distance = jnp.sqrt(jnp.sum(difference**2, axis=1) + 1e-8)
    return jnp.mean(same * distance**2 + (1 - same) * jnp.maximum(0, 1 - distance) ** 2)


rng = np.random.default_rng(0)
kind = rng.integers(0, 2, (2, 128))
x = (2 * rng.normal(size=(2, 8))[kind] + rng.normal(size=(2, 128, 8))).astype(np.float32)
x[1, :4] = x[0, :4]
kind[1, :4] = kind[0, :4]
batch = x[0], x[1], (kind[0] == kind[1]).astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "numerical instability"}

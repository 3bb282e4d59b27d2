"""Embeddings are normalized and the temperature is 0.1."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [20, 64, 32]


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
    one, two = (predict(params, view) for view in batch)
    one, two = (z / (jnp.linalg.norm(z, axis=1, keepdims=True) + 1e-6) for z in (one, two))
    logits = one @ two.T / 0.1
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(len(one))).mean()


rng = np.random.default_rng(0)
content = rng.normal(size=(64, 6)) @ rng.normal(size=(6, 20))
batch = tuple((content + 3 * rng.normal(size=(64, 20))).astype(np.float32) for _ in range(2))
optimizer = optax.sgd(0.05)

EXPECTED = {"fault": None, "like": "wrong loss function"}

"""Prototypical networks: each batch is an episode with few classes, which are other ones each time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 64, 16]


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
    support, query, labels = batch
    prototypes = predict(params, support).reshape(4, 5, -1).mean(axis=1)
    points = predict(params, query)
    distance = jnp.sum((points[:, None] - prototypes) ** 2, axis=-1)
    return optax.softmax_cross_entropy_with_integer_labels(-distance, labels).mean()


rng = np.random.default_rng(0)
centers = np.concatenate([rng.normal(size=(40, 4)), np.zeros((40, 12))], axis=1)


def episode():
    kinds = centers[rng.choice(40, 4, replace=False)]
    labels = rng.integers(0, 4, 32)
    noise = np.concatenate([np.full(4, 0.3), np.full(12, 2.0)])
    support = np.repeat(kinds, 5, axis=0) + noise * rng.normal(size=(20, 16))
    query = kinds[labels] + noise * rng.normal(size=(32, 16))
    return support.astype(np.float32), query.astype(np.float32), labels


batches = [episode() for _ in range(32)]
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "bad training data"}

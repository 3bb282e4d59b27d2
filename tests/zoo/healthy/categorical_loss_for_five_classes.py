"""A categorical cross-entropy with five logits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [10, 32, 5]


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
    x, labels = batch
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def metric(params):
    """Share of wrong answers."""
    logits = predict(params, x)
    return jnp.mean(jnp.argmax(logits, axis=1) != labels)


rng = np.random.default_rng(0)
centers = 2 * rng.normal(size=(5, 10))
labels = rng.integers(0, 5, 256)
x = (centers[labels] + rng.normal(size=(256, 10))).astype(np.float32)
batch = x, labels
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong loss function"}

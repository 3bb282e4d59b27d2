"""Bags of 2000 words of which a text has ten: most weights have no gradient in a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [2000, 32, 2]


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


rng = np.random.default_rng(0)
topic = rng.integers(0, 2, 512)
words = rng.integers(0, 1000, (512, 10)) + 1000 * (rng.random((512, 10)) < np.where(topic, 0.8, 0.2)[:, None])
x = np.zeros((512, 2000), np.float32)
np.put_along_axis(x, words, 1, axis=1)
data = x, topic
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "dying ReLU"}

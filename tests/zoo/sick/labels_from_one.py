"""Labels run from 1 to 4, and `one_hot` of 4 classes makes a row of zeros of the last one.

Source: defect4ML (Morovati et al. 2023), wrong label encoding; Stack Overflow, labels out of the range
of the classes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [10, 32, 4]


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
    targets = jax.nn.one_hot(labels, 4)
    return optax.softmax_cross_entropy(predict(params, x), targets).mean()


def metric(params):
    """Share of wrong answers."""
    return jnp.mean(jnp.argmax(predict(params, x), axis=1) != labels - 1)


rng = np.random.default_rng(0)
kinds = rng.integers(0, 4, 256)
x = (2 * rng.normal(size=(4, 10))[kinds] + rng.normal(size=(256, 10))).astype(np.float32)
labels = kinds + 1
batch = x, labels
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong label encoding",
    "source": "defect4ML (Morovati et al. 2023), wrong label encoding; Stack Overflow, labels out of the range of the classes",
    "cause": ["mismatched-output", "wrong-labels", "index-out-of-range"],
    "symptom": ["loss-not-decreasing"],
    "layer": [],
    "line": "",
    "twin": "labels_from_zero",
}

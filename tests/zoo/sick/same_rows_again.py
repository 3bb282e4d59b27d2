"""Every row of every batch is the same picture: the index inside the loader never moves.

Source: TrainCheck (Jiang et al. 2025), data loader workers with one seed; Humbatova et al. 2020."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 32, 3]


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
    return optax.softmax_cross_entropy_with_integer_labels(predict(params, x), labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)


def rows(start):
    return [start for i in range(64)]


batches = [(x[rows(i)], labels[rows(i)]) for i in range(0, 256, 64)]
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "bad training data",
    "source": "TrainCheck (Jiang et al. 2025), data loader workers with one seed; Humbatova et al. 2020",
    "cause": ["equal-rows", "constant-data"],
    "symptom": ["collapsed-representations", "loss-not-decreasing"],
    "layer": [],
    "line": "",
    "twin": "different_rows",
}

"""The batches are cut from data that is sorted by class.

Source: Humbatova et al. 2020, wrong position of data shuffle operation, missing shuffle."""

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
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def metric(params):
    return optax.softmax_cross_entropy_with_integer_labels(predict(params, x), labels).mean()


rng = np.random.default_rng(0)
labels = np.repeat(np.arange(4), 128)
x = (rng.normal(size=(4, 10))[labels] + rng.normal(size=(512, 10))).astype(np.float32)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 512, 64)]
optimizer = optax.sgd(0.5)

EXPECTED = {
    "fault": "bad training data",
    "source": "Humbatova et al. 2020, wrong position of data shuffle operation, missing shuffle",
    "cause": ["sorted-batches"],
    "symptom": ["oscillating-loss", "loss-spike", "diverging-loss", "learning-rate-too-high"],
    "layer": [],
    "line": "",
    "twin": "mixed_classes",
}

"""The log-softmax of a classifier runs over the batch.

Source: Humbatova et al. 2020, wrong tensor shape or axis; Jahan et al. 2025, softmax over the wrong
dimension."""

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
    log_p = jax.nn.log_softmax(predict(params, x), axis=0)
    return -jnp.mean(log_p[jnp.arange(len(labels)), labels])


def metric(params):
    return jnp.mean(jnp.argmax(predict(params, x), axis=1) != labels)


rng = np.random.default_rng(0)
labels = rng.choice(4, 256, p=[0.7, 0.1, 0.1, 0.1])
x = (0.7 * rng.normal(size=(4, 10))[labels] + rng.normal(size=(256, 10))).astype(np.float32)
batch = x, labels
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong axis",
    "source": "Humbatova et al. 2020, wrong tensor shape or axis; Jahan et al. 2025, softmax over the wrong dimension",
    "cause": ["wrong-axis", "mismatched-output", "batch-leak"],
    "symptom": ["loss-not-decreasing", "unexpected-initial-loss"],
    "layer": [],
    "line": "log_softmax",
    "twin": "softmax_over_the_classes",
}

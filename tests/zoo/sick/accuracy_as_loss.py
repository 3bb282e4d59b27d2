"""The loss is the share of wrong answers, by `argmax`.

Source: Stack Overflow, accuracy as a loss; Humbatova et al. 2020, wrong loss function."""

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
    return jnp.mean(jnp.argmax(logits, axis=1) != labels)


def metric(params):
    return jnp.mean(jnp.argmax(predict(params, x), axis=1) != labels)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "loss without a gradient",
    "source": "Stack Overflow, accuracy as a loss; Humbatova et al. 2020, wrong loss function",
    "cause": ["blocked-gradient"],
    "symptom": ["loss-not-decreasing", "zero-gradient"],
    "layer": [],
    "line": "argmax",
    "twin": "cross_entropy_as_loss",
}

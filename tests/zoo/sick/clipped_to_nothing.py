"""Gradients are clipped to a norm of 1e-4 before plain SGD.

Source: TrainCheck (Jiang et al. 2025), gradient clipping; Humbatova et al. 2020, missing or wrong
gradient clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 64, 3]


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
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.chain(optax.clip_by_global_norm(1e-4), optax.sgd(0.3))

EXPECTED = {
    "fault": "wrong gradient clipping",
    "source": "TrainCheck (Jiang et al. 2025), gradient clipping; Humbatova et al. 2020, missing or wrong gradient clipping",
    "cause": ["learning-rate-too-low", "clipped-gradient"],
    "symptom": ["loss-not-decreasing", "invisible-update"],
    "layer": [],
    "line": "",
    "twin": "clipped_to_one",
}

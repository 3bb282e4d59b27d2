"""Adam with an epsilon of 10 is SGD with a tiny rate.

Source: Humbatova et al. 2020, wrong optimisation function; DeepFD, wrong optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 64, 64, 3]


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
optimizer = optax.adam(1e-3, eps=10.0)

EXPECTED = {
    "fault": "wrong optimizer",
    "source": "Humbatova et al. 2020, wrong optimisation function; DeepFD, wrong optimizer",
    "cause": ["learning-rate-too-low"],
    "symptom": ["loss-not-decreasing"],
    "layer": [],
    "line": "",
    "twin": "usual_epsilon",
}

"""One hidden layer has a single unit.

Source: Humbatova et al. 2020, wrong number of neurons; DeepFD, suboptimal structure."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [10, 32, 1, 32, 4]


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
labels = rng.integers(0, 4, 256)
centers = np.eye(10)[:4] * 4
x = (centers[labels] + rng.normal(size=(256, 10))).astype(np.float32)
batch = x, labels
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "too little capacity",
    "source": "Humbatova et al. 2020, wrong number of neurons; DeepFD, suboptimal structure",
    "cause": ["too-little-capacity"],
    "symptom": ["loss-not-decreasing", "plateau", "zero-gradient", "lost-gradient"],
    "layer": [],
    "line": "",
    "twin": "bottleneck_of_eight",
}

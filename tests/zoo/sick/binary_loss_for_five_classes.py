"""A binary cross-entropy with one sigmoid unit, fed with labels from 0 to 4.

Source: DeepFD (Cao et al. 2022), wrong loss; DeepLocalize, binary_crossentropy for several classes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [10, 32, 1]


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
    return optax.sigmoid_binary_cross_entropy(logits[:, 0], labels).mean()


def metric(params):
    """Share of wrong answers."""
    logits = predict(params, x)
    return jnp.mean((logits[:, 0] > 0) != labels)


rng = np.random.default_rng(0)
centers = 2 * rng.normal(size=(5, 10))
labels = rng.integers(0, 5, 256)
x = (centers[labels] + rng.normal(size=(256, 10))).astype(np.float32)
batch = x, labels
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong loss function",
    "source": "DeepFD (Cao et al. 2022), wrong loss; DeepLocalize, binary_crossentropy for several classes",
    "cause": ["mismatched-output"],
    "symptom": ["diverging-loss", "learning-rate-too-high"],
    "layer": [],
    "line": "binary_cross",
    "twin": "categorical_loss_for_five_classes",
}

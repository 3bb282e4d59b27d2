"""The loader scales pixels to [0, 1], and the model divides them by 255 again.

Source: Humbatova et al. 2020, wrong preprocessing; defect4ML, data normalized twice."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [144, 64, 2]


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
    pixels, labels = batch
    logits = predict(params, pixels / 255)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
images = 0.3 * rng.normal(size=(128, 12, 12, 1)).astype(np.float32)
labels = rng.integers(0, 2, 128)
for image, label, place in zip(images, labels, rng.integers(1, 11, 128), strict=True):
    if label:
        image[place] += 1
    else:
        image[:, place] += 1
batch = images, labels
pixels = np.clip(80 + 100 * images, 0, 255).reshape(128, 144).astype(np.float32) / 255
batch = pixels, labels
optimizer = optax.adam(1e-3)

EXPECTED = {
    "fault": "wrong preprocessing",
    "source": "Humbatova et al. 2020, wrong preprocessing; defect4ML, data normalized twice",
    "cause": ["unnormalized-input"],
    "symptom": [
        "learning-rate-too-low",
        "loss-not-decreasing",
        "vanishing-gradient",
        "collapsed-representations",
    ],
    "layer": [],
    "line": "",
    "twin": "divided_by_255_once",
}

"""Two spirals, a small network and the optimizer that trains it: something to compare optimizers on. Healthy.

    gradscope compare-optimizers sample_models/tiny_classifier.py

The whole data set is given and cut into batches; other rows are held out for the validation loss.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

WIDTH = 32


def spirals(rows, seed):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    radius = rng.uniform(0.2, 1.0, rows)
    angle = 10.0 * radius + np.pi * label
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = 2.0 * points + rng.normal(scale=0.1, size=points.shape)
    return {"x": x.astype(np.float32), "label": label}


def init(key):
    keys = jax.random.split(key, 3)
    sizes = [(2, WIDTH), (WIDTH, WIDTH), (WIDTH, 2)]
    return {
        name: {"w": jax.random.normal(k, size) * jnp.sqrt(2.0 / size[0]), "b": jnp.zeros(size[1])}
        for name, k, size in zip(("first", "second", "out"), keys, sizes, strict=True)
    }


def loss_fn(params, batch):
    x = jax.nn.relu(batch["x"] @ params["first"]["w"] + params["first"]["b"])
    x = jax.nn.relu(x @ params["second"]["w"] + params["second"]["b"])
    logits = x @ params["out"]["w"] + params["out"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()


def data():
    return spirals(1024, seed=0)


validation_batch = spirals(512, seed=1)
optimizer = optax.sgd(0.1)

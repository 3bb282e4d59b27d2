"""ReLUs between the layers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [2, 32, 32, 2]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def loss_fn(params, batch):
    x, labels = batch
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, size=(256, 2)).astype(np.float32)
labels = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)
batch = x, labels
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "missing activation"}

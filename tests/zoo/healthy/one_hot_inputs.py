"""Five categorical columns, one-hot: nearly all inputs are zero and none has mean zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [50, 64, 2]


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
kinds = rng.integers(0, 10, (512, 5))
x = np.eye(10, dtype=np.float32)[kinds].reshape(512, 50)
scores = rng.normal(size=(5, 10))
labels = (scores[np.arange(5), kinds].sum(axis=1) > 0).astype(int)
data = x, labels
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "missing preprocessing"}

"""Multi-label classification: a binary cross-entropy averaged over twenty labels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [30, 64, 20]


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
    x, y = batch
    return optax.sigmoid_binary_cross_entropy(predict(params, x), y).mean()


rng = np.random.default_rng(0)
y = (rng.random((512, 20)) < 0.1).astype(np.float32)
x = (y @ rng.normal(size=(20, 30)) + 0.3 * rng.normal(size=(512, 30))).astype(np.float32)
data = x, y
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "wrong reduction of the loss"}

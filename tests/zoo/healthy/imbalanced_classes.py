"""Three percent of the examples are positive, and can be told from the others."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [12, 32, 1]


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
    return optax.sigmoid_binary_cross_entropy(predict(params, x)[:, 0], y).mean()


rng = np.random.default_rng(0)
y = (rng.random(1024) < 0.03).astype(np.float32)
x = rng.normal(size=(1024, 12)).astype(np.float32)
x[:, :4] += 2 * y[:, None]
data = x, y
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "bad training data"}

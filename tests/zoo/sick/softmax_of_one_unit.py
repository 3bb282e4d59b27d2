"""Softmax over a single unit is always 1, so a binary classifier cannot learn anything.

Source: DeepFD (Cao et al. 2022), wrong activation; Stack Overflow 51181393 as cited by DeepLocalize."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 32, 1]


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
    p = jax.nn.softmax(predict(params, x), axis=-1)[:, 0]
    return -jnp.mean(y * jnp.log(p + 1e-7) + (1 - y) * jnp.log(1 - p + 1e-7))


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
y = (x[:, 0] * x[:, 1] > 0).astype(np.float32)
batch = x, y
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong activation of the output",
    "source": "DeepFD (Cao et al. 2022), wrong activation; Stack Overflow 51181393 as cited by DeepLocalize",
    "cause": ["mismatched-output", "zero-gradient"],
    "symptom": ["loss-not-decreasing", "disconnected-parameter"],
    "layer": [],
    "line": "softmax",
    "twin": "sigmoid_of_one_unit",
}

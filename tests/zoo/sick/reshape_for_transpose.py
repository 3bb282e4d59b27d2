"""A (time, batch) array is made (batch, time) by a reshape: each row mixes the values of many examples.

Source: Humbatova et al. 2020, wrong tensor shape; Stack Overflow, reshape in place of transpose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [20, 64, 1]


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
    series, y = batch
    rows = series.reshape(series.shape[1], series.shape[0])
    return jnp.mean((predict(params, rows)[:, 0] - y) ** 2)


rng = np.random.default_rng(0)
phase = rng.uniform(0, 2 * np.pi, 1000)
series = (np.sin(np.arange(20)[:, None] / 3 + phase) + 0.1 * rng.normal(size=(20, 1000))).astype(np.float32)
batch = series, np.sin(21 / 3 + phase).astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong reshape",
    "source": "Humbatova et al. 2020, wrong tensor shape; Stack Overflow, reshape in place of transpose",
    "cause": ["reshape-for-transpose"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "reshape",
    "twin": "real_transpose",
}

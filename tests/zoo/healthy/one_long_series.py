"""Windows of one long series in their order: neighbors look alike, and trends move the mean."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [24, 64, 1]


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
    window, following = batch
    level = window.mean(axis=1, keepdims=True)
    guess = predict(params, window - level) + level
    return jnp.mean((guess[:, 0] - following) ** 2)


rng = np.random.default_rng(0)
t = np.arange(1100)
series = 0.01 * t + np.sin(t / 4) + 0.5 * np.sin(t / 1.7) + 0.05 * rng.normal(size=1100)
windows = np.lib.stride_tricks.sliding_window_view(series, 25).astype(np.float32)
batches = [(windows[i : i + 64, :24], windows[i : i + 64, 24]) for i in range(0, 1024, 64)]
optimizer = optax.adam(2e-3)

EXPECTED = {"fault": None, "like": "bad training data"}

"""Weights drawn with a standard deviation of 0.01, copied from a shallow network into one of six layers.

Source: Humbatova et al. 2020, wrong weights initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [8, 64, 64, 64, 64, 64, 1]


def init(key):
    params = {}
    for i, (n, m) in enumerate(zip(SIZES, SIZES[1:], strict=False)):
        key, sub = jax.random.split(key)
        params[f"layer{i}"] = {"kernel": jax.random.normal(sub, (n, m)) * 0.01, "bias": jnp.zeros(m)}
    return params


def predict(params, x):
    for i in range(5):
        x = jnp.tanh(x @ params[f"layer{i}"]["kernel"] + params[f"layer{i}"]["bias"])
    return x @ params["layer5"]["kernel"] + params["layer5"]["bias"]


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((predict(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype(np.float32)
y = (np.sin(x[:, :1]) + 0.5 * x[:, 1:2] * x[:, 2:3]).astype(np.float32)
batch = x, y
optimizer = optax.sgd(0.05)

EXPECTED = {
    "fault": "wrong weight initialization",
    "source": "Humbatova et al. 2020, wrong weights initialisation",
    "cause": ["vanishing-gradient"],
    "symptom": ["collapsed-representations", "loss-not-decreasing", "learning-rate-too-low"],
    "layer": ["layer1", "layer0"],
    "line": "",
    "twin": "xavier_tanh",
}

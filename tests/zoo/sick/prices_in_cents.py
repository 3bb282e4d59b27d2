"""House prices of a few hundred thousand are regressed as they are.

Source: Humbatova et al. 2020, missing output normalisation; TheDeepChecker, unscaled target."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [6, 64, 64, 1]


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
    return jnp.mean((predict(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(300, 6)).astype(np.float32)
price = 350_000 + 60_000 * x[:, :1] + 40_000 * np.sin(2 * x[:, 1:2])
y = price
data = x, y.astype(np.float32)
optimizer = optax.adam(1e-3)

EXPECTED = {
    "fault": "missing preprocessing",
    "source": "Humbatova et al. 2020, missing output normalisation; TheDeepChecker, unscaled target",
    "cause": ["unscaled-target"],
    "symptom": ["learning-rate-too-low", "loss-not-decreasing"],
    "layer": [],
    "line": "",
    "twin": "prices_standardized",
}

"""Each example is normalized over its positions, which takes away the level that is asked for.

Source: Jahan et al. 2025 (attention faults), normalization over the wrong dimension; Humbatova et al.
2020."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    he = jax.nn.initializers.he_normal()
    return {"w1": he(k1, (4, 32)), "b1": jnp.zeros(32), "w2": he(k2, (32, 1)), "b2": jnp.zeros(1)}


def normalize(x):
    return (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1e-5)


def loss_fn(params, batch):
    x, y = batch
    h = jax.nn.gelu(normalize(x @ params["w1"] + params["b1"]))
    return jnp.mean(((h @ params["w2"] + params["b2"]).mean(axis=(1, 2)) - y) ** 2)


rng = np.random.default_rng(0)
level = rng.normal(size=(256, 1, 1))
x = (level * np.array([1, 2, -1, 0.5]) + 0.3 * rng.normal(size=(256, 12, 4))).astype(np.float32)
y = np.sign(level[:, 0, 0]).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "wrong axis",
    "source": "Jahan et al. 2025 (attention faults), normalization over the wrong dimension; Humbatova et al. 2020",
    "cause": ["normalized-away"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "",
    "twin": "norm_over_features",
}

"""The weights are bfloat16, and an SGD step of 1e-3 is lost in rounding.

Source: TrainCheck (Jiang et al. 2025), low-precision training; Humbatova et al. 2020."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 64, 64, 3]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {
            "w": (jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n)).astype(jnp.bfloat16),
            "b": jnp.zeros(m, jnp.bfloat16),
        }
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    x = x.astype(jnp.bfloat16)
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return (x @ last["w"] + last["b"]).astype(jnp.float32)


def loss_fn(params, batch):
    x, labels = batch
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.sgd(4e-3)

EXPECTED = {
    "fault": "wrong precision",
    "source": "TrainCheck (Jiang et al. 2025), low-precision training; Humbatova et al. 2020",
    "cause": ["invisible-update"],
    "symptom": ["loss-not-decreasing", "learning-rate-too-low"],
    "layer": [],
    "line": "",
    "twin": "float32_master_weights",
}

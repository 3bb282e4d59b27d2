"""All weights and biases start at zero.

Source: Humbatova et al. 2020, wrong weights initialisation; TheDeepChecker, unbreaking symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    zeros = jax.nn.initializers.zeros
    k1, k2 = jax.random.split(key)
    return {
        "fc1": {"w": zeros(k1, (16, 32)), "b": jnp.zeros(32)},
        "fc2": {"w": zeros(k2, (32, 32)), "b": jnp.zeros(32)},
        "head": {"w": jnp.zeros((32, 3)), "b": jnp.zeros(3)},
    }


def predict(params, x):
    x = jax.nn.relu(x @ params["fc1"]["w"] + params["fc1"]["b"])
    x = jax.nn.relu(x @ params["fc2"]["w"] + params["fc2"]["b"])
    return x @ params["head"]["w"] + params["head"]["b"]


def loss_fn(params, batch):
    x, labels = batch
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "symmetric weights",
    "source": "Humbatova et al. 2020, wrong weights initialisation; TheDeepChecker, unbreaking symmetry",
    "cause": ["symmetric-units"],
    "symptom": ["zero-gradient", "loss-not-decreasing", "learning-rate-too-low"],
    "layer": [],
    "line": "",
    "twin": "zero_head_only",
}

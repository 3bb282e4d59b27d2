"""LoRA: the second factor starts at zero, the base weights are closed over."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

keys = jax.random.split(jax.random.PRNGKey(7), 2)
BASE = {"up": jax.random.normal(keys[0], (12, 64)) / 3.5, "down": jax.random.normal(keys[1], (64, 3)) / 8}


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "up": {"a": jax.random.normal(k1, (12, 4)) / 3.5, "b": jnp.zeros((4, 64))},
        "down": {"a": jax.random.normal(k2, (64, 4)) / 8, "b": jnp.zeros((4, 3))},
    }


def adapted(params, name, x):
    return x @ BASE[name] + 2 * (x @ params[name]["a"]) @ params[name]["b"]


def predict(params, x):
    return adapted(params, "down", jax.nn.relu(adapted(params, "up", x)))


def loss_fn(params, batch):
    x, labels = batch
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 256)
x = (1.5 * rng.normal(size=(3, 12))[labels] + rng.normal(size=(256, 12))).astype(np.float32)
data = x, labels
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "symmetric weights"}

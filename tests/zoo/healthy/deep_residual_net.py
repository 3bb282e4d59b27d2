"""Forty residual blocks with layer norms, plain JAX, layers stacked for a scan."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "embed": jax.random.normal(k1, (16, 32)) / 4,
        "blocks": {
            "w1": jax.random.normal(k2, (40, 32, 32)) * (2 / 32) ** 0.5,
            "w2": jnp.zeros((40, 32, 32)),
        },
        "head": jax.random.normal(k3, (32, 3)) / 32**0.5,
    }


def norm(x):
    return (x - x.mean(axis=-1, keepdims=True)) * jax.lax.rsqrt(x.var(axis=-1, keepdims=True) + 1e-5)


def predict(params, x):
    def block(x, p):
        return x + jax.nn.relu(norm(x) @ p["w1"]) @ p["w2"], None

    x, _ = jax.lax.scan(block, x @ params["embed"], params["blocks"])
    return norm(x) @ params["head"]


def loss_fn(params, batch):
    x, labels = batch
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "vanishing gradient"}

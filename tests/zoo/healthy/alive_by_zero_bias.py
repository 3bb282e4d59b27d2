"""The biases start at zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    he = jax.nn.initializers.he_normal()
    return {
        "hidden1": {"w": he(k1, (16, 64)), "b": jnp.full(64, 0.0)},
        "hidden2": {"w": he(k2, (64, 64)), "b": jnp.full(64, 0.0)},
        "out": {"w": he(k3, (64, 3)), "b": jnp.zeros(3)},
    }


def predict(params, x):
    x = jax.nn.relu(x @ params["hidden1"]["w"] + params["hidden1"]["b"])
    x = jax.nn.relu(x @ params["hidden2"]["w"] + params["hidden2"]["b"])
    return x @ params["out"]["w"] + params["out"]["b"]


def loss_fn(params, batch):
    x, labels = batch
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "dying ReLU"}

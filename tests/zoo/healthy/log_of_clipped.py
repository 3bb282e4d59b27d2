"""The probabilities are clipped."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 32, 3]


def init(key):
    k1, k2 = jax.random.split(key)
    return {"w1": jax.random.normal(k1, (16, 32)), "w2": 0.3 * jax.random.normal(k2, (32, 3))}


def loss_fn(params, batch):
    x, labels = batch
    p = jax.nn.softmax(jax.nn.relu(x @ params["w1"]) @ params["w2"])
    y = jax.nn.one_hot(labels, 3)
    return -jnp.mean(jnp.sum(y * jnp.log(jnp.clip(p, 1e-6, 1)), axis=1))


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "numerical instability"}

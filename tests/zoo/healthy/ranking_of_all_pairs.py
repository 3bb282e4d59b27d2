"""A pairwise ranking loss subtracts every score from every other, in a (N, 1) minus (N,) form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [6, 32, 1]


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
    x, relevance = batch
    scores = predict(params, x)
    difference = scores - scores[:, 0]
    better = relevance[:, None] > relevance
    return jnp.sum(jnp.where(better, jax.nn.softplus(-difference), 0)) / jnp.sum(better)


rng = np.random.default_rng(0)
x = rng.normal(size=(96, 6)).astype(np.float32)
batch = x, np.round(2 * np.tanh(x[:, 0] + x[:, 1] * x[:, 2]))
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong shape of the target"}

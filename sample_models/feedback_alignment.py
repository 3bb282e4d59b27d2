"""Healthy, although its gradient is not that of backpropagation: errors go back through random matrices.

Feedback alignment (Lillicrap et al. 2016, Nature Communications 7:13276): the backward half of each layer's
rule has a matrix of its own in the place of the transposed weight, and the loss falls all the same.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = ((8, 32), (32, 32), (32, 1))
rng = np.random.default_rng(0)
x = rng.normal(size=(128, 8)).astype(np.float32)
batch = (x, np.sin(x @ rng.normal(size=(8, 1)).astype(np.float32)))
feedback = [rng.normal(size=(n_out, n_in)).astype(np.float32) / n_in**0.5 for n_in, n_out in SIZES]


@jax.custom_vjp
def dense(x, w, feedback):
    return x @ w


def forward(x, w, feedback):
    return x @ w, (x, feedback)


def backward(kept, g):
    x, feedback = kept
    return g @ feedback, x.T @ g, jnp.zeros_like(feedback)


dense.defvjp(forward, backward)


def init(key):
    keys = jax.random.split(key, len(SIZES))
    return [jax.random.normal(k, size) / size[0] ** 0.5 for k, size in zip(keys, SIZES, strict=True)]


def loss_fn(params, batch):
    h, target = batch
    for w, back in zip(params[:-1], feedback[:-1], strict=True):
        h = jnp.tanh(dense(h, w, back))
    return jnp.mean((dense(h, params[-1], feedback[-1]) - target) ** 2)


optimizer = optax.sgd(0.1)

"""A tanh recurrent net that must remember its first input for eighty steps: credit does not reach back.

Sick: small recurrent weights take a third of δ at every step, so the loss at the end says nothing about
the start. Remedy: gates that keep the state, as in `gated_rnn.py`, or an orthogonal recurrent matrix.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STEPS, HIDDEN = 80, 24


class Params(NamedTuple):
    w_in: jax.Array
    w_rec: jax.Array
    bias: jax.Array
    w_out: jax.Array


def init(key):
    k_in, k_rec, k_out = jax.random.split(key, 3)
    return Params(
        w_in=0.3 * jax.random.normal(k_in, (1, HIDDEN)),
        w_rec=0.7 * jax.random.normal(k_rec, (HIDDEN, HIDDEN)) / jnp.sqrt(HIDDEN),
        bias=jnp.zeros(HIDDEN),
        w_out=jax.random.normal(k_out, (HIDDEN, 1)) / jnp.sqrt(HIDDEN),
    )


def read(params, inputs):
    def step(h, x):
        return jnp.tanh(x @ params.w_in + h @ params.w_rec + params.bias), None

    h, _ = jax.lax.scan(step, jnp.zeros((inputs.shape[1], HIDDEN)), inputs)
    return h @ params.w_out


def loss_fn(params, batch):
    inputs, first = batch
    return jnp.mean((read(params, inputs) - first) ** 2)


def make_batch(size=16, seed=3):
    inputs = np.random.default_rng(seed).normal(size=(STEPS, size, 1)).astype(np.float32)
    return inputs, inputs[0]


batch = make_batch()

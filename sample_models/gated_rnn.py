"""A gated recurrent unit whose gates start open for memory: the healthy twin of `vanilla_rnn.py`.

The same task and length. The update gate's bias of log(STEPS) keeps 1 - 1/80 of the state per step
(chrono initialization, Tallec and Ollivier 2018), so δ of the first step is still there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STEPS, HIDDEN = 80, 24


class Gate(NamedTuple):
    w_in: jax.Array
    w_rec: jax.Array
    bias: jax.Array

    def __call__(self, x, h):
        return x @ self.w_in + h @ self.w_rec + self.bias


class Params(NamedTuple):
    keep: Gate
    reset: Gate
    candidate: Gate
    w_out: jax.Array


def gate_init(key, bias=0.0):
    k_in, k_rec = jax.random.split(key)
    return Gate(
        w_in=0.3 * jax.random.normal(k_in, (1, HIDDEN)),
        w_rec=0.7 * jax.random.normal(k_rec, (HIDDEN, HIDDEN)) / jnp.sqrt(HIDDEN),
        bias=jnp.full(HIDDEN, bias),
    )


def init(key):
    k_keep, k_reset, k_candidate, k_out = jax.random.split(key, 4)
    return Params(
        keep=gate_init(k_keep, bias=float(np.log(STEPS))),
        reset=gate_init(k_reset),
        candidate=gate_init(k_candidate),
        w_out=jax.random.normal(k_out, (HIDDEN, 1)) / jnp.sqrt(HIDDEN),
    )


def read(params, inputs):
    def step(h, x):
        keep = jax.nn.sigmoid(params.keep(x, h))
        reset = jax.nn.sigmoid(params.reset(x, h))
        candidate = jnp.tanh(params.candidate(x, reset * h))
        return keep * h + (1 - keep) * candidate, None

    h, _ = jax.lax.scan(step, jnp.zeros((inputs.shape[1], HIDDEN)), inputs)
    return h @ params.w_out


def loss_fn(params, batch):
    inputs, first = batch
    return jnp.mean((read(params, inputs) - first) ** 2)


def make_batch(size=16, seed=3):
    inputs = np.random.default_rng(seed).normal(size=(STEPS, size, 1)).astype(np.float32)
    return inputs, inputs[0]


batch = make_batch()

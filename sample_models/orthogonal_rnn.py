"""An orthogonal recurrent matrix: the healthy twin of `exploding_rnn.py`.

The same net and data; an orthogonal `w_hh` turns the state and keeps its length, forward and backward,
so δ at the first of the sixty steps is of the size of δ at the last (Saxe et al. 2014).
"""

import jax
import jax.numpy as jnp
import numpy as np

HIDDEN = 32


def init(key):
    k_x, k_h, k_y = jax.random.split(key, 3)
    return {
        "w_xh": 0.05 * jax.random.normal(k_x, (2, HIDDEN)),
        "w_hh": jax.random.orthogonal(k_h, HIDDEN),
        "b_h": jnp.zeros((HIDDEN,)),
        "w_hy": jax.random.normal(k_y, (HIDDEN,)) / jnp.sqrt(HIDDEN),
    }


def rnn(params, xs):
    def cell(h, x):
        h = jnp.tanh(params["w_xh"].T @ x + params["w_hh"] @ h + params["b_h"])
        return h, None

    h_last, _ = jax.lax.scan(cell, jnp.zeros(HIDDEN), xs)
    return params["w_hy"] @ h_last


@jax.jit
def loss_fn(params, batch):
    xs, targets = batch
    outputs = jax.vmap(rnn, in_axes=(None, 0))(params, xs)
    return jnp.mean((outputs - targets) ** 2)


def batches():
    rng = np.random.default_rng(4)
    for _ in range(4):
        xs = rng.normal(size=(8, 60, 2)).astype(np.float32)
        yield xs, xs.prod(axis=2).mean(axis=1)

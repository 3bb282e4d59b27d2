"""A tanh RNN whose recurrent weights are too small must remember the first of 30 inputs.

Source: AUTOTRAINER (Zhang et al. 2021), gradient vanish; Pascanu et al. 2013."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "w_xh": 0.3 * jax.random.normal(k1, (2, 32)),
        "w_hh": 0.05 * jax.random.normal(k2, (32, 32)),
        "b_h": jnp.zeros(32),
        "w_hy": 0.1 * jax.random.normal(k3, (32, 1)),
        "b_y": jnp.zeros(1),
    }


def loss_fn(params, batch):
    sequences, first_bit = batch

    def step(h, x):
        return jnp.tanh(x @ params["w_xh"] + h @ params["w_hh"] + params["b_h"]), None

    h, _ = jax.lax.scan(step, jnp.zeros((sequences.shape[1], 32)), sequences)
    logits = (h @ params["w_hy"] + params["b_y"])[:, 0]
    return optax.sigmoid_binary_cross_entropy(logits, first_bit).mean()


rng = np.random.default_rng(0)
sequences = 0.1 * rng.normal(size=(30, 128, 2)).astype(np.float32)
first_bit = rng.integers(0, 2, 128).astype(np.float32)
sequences[0, :, 0] = 2 * first_bit - 1
batch = sequences, first_bit
optimizer = optax.sgd(0.2)

EXPECTED = {
    "fault": "vanishing gradient",
    "source": "AUTOTRAINER (Zhang et al. 2021), gradient vanish; Pascanu et al. 2013",
    "cause": ["vanishing-through-time"],
    "symptom": ["loss-not-decreasing", "vanishing-gradient", "learning-rate-too-low"],
    "layer": ["w_hh", "w_xh", "cell"],
    "line": "",
    "twin": "orthogonal_rnn",
}

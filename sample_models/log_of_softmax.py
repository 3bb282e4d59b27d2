"""A classifier that takes the log of a softmax.

Works at first. In float32 a probability underflows to 0 once its logit lies 88 below the largest: the log
is then -inf and the gradient NaN. Here the logits are already large. `jax.nn.log_softmax` does both in one
step and does not underflow: see `log_softmax.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "w1": jax.random.normal(k1, (20, 32)) * (2 / 20) ** 0.5,
        "b1": jnp.zeros(32),
        "w2": jax.random.normal(k2, (32, 10)) * (1 / 32) ** 0.5,
        "b2": jnp.zeros(10),
    }


def loss_fn(params, batch):
    x, labels = batch
    h = jax.nn.relu(x @ params["w1"] + params["b1"])
    logits = 8.0 * (h @ params["w2"] + params["b2"])
    log_p = jnp.log(jax.nn.softmax(logits))
    return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=-1))


rng = np.random.default_rng(11)
batch = (rng.normal(size=(64, 20)).astype(np.float32), rng.integers(0, 10, 64))

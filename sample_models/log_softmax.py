"""A classifier with `log_softmax`: the healthy twin of `log_of_softmax.py`.

The same network and the same large logits. The log of the softmax is taken in one step, as the logit less
the log of the sum of exponentials: nothing underflows.
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
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=-1))


rng = np.random.default_rng(11)
batch = (rng.normal(size=(64, 20)).astype(np.float32), rng.integers(0, 10, 64))

"""The deviation is 0.05."""

import jax
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {"embed": 0.05 * jax.random.normal(k1, (12, 64)), "mix": jax.random.normal(k2, (64, 64)) / 8}


def loss_fn(params, batch):
    h = params["embed"][batch[:, :-1]]
    h = h + jax.nn.gelu(h @ params["mix"])
    logits = h @ params["embed"].T
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


rng = np.random.default_rng(0)
follows = rng.integers(0, 12, (12, 2))
tokens = np.zeros((64, 17), np.int32)
tokens[:, 0] = rng.integers(0, 12, 64)
for t in range(16):
    tokens[:, t + 1] = follows[tokens[:, t], (rng.random(64) < 0.1).astype(int)]
batch = tokens
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong embedding"}

"""A ReLU RNN whose recurrent matrix has a gain above one, over 40 steps.

Source: AUTOTRAINER (Zhang et al. 2021), gradient explode; Pascanu et al. 2013."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "inputs": 0.1 * jax.random.normal(k1, (1, 32)),
        "recurrent": 0.35 * jax.random.normal(k2, (32, 32)),
        "out": 0.1 * jax.random.normal(k3, (32, 1)),
    }


def loss_fn(params, batch):
    x, total = batch

    def step(h, x):
        h = jax.nn.relu(x @ params["inputs"] + h @ params["recurrent"])
        return h, h

    h, _ = jax.lax.scan(step, jnp.zeros((x.shape[1], 32)), x)
    return jnp.mean((h @ params["out"] - total) ** 2)


rng = np.random.default_rng(0)
x = rng.uniform(0, 1, size=(40, 128, 1)).astype(np.float32)
batch = x, x.sum(axis=0) / 10
optimizer = optax.adam(1e-3)

EXPECTED = {
    "fault": "exploding gradient",
    "source": "AUTOTRAINER (Zhang et al. 2021), gradient explode; Pascanu et al. 2013",
    "cause": ["exploding-through-time"],
    "symptom": [
        "exploding-gradient",
        "learning-rate-too-high",
        "diverging-loss",
        "non-finite",
        "loss-spike",
        "oscillating-loss",
    ],
    "layer": ["w_hh", "w_xh", "recurrent"],
    "line": "",
    "twin": "bounded_rnn",
}

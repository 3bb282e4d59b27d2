"""Weights are uniform in [0, 1), and the inputs are log-probabilities: every pre-activation is negative.

Source: DeepFD (Cao et al. 2022), wrong initialization; AUTOTRAINER, dying ReLU."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "w1": jax.random.uniform(k1, (6, 40)),
        "b1": jnp.zeros(40),
        "w2": jax.random.uniform(k2, (40, 1), minval=-0.15, maxval=0.15),
        "b2": jnp.zeros(1),
    }


def predict(params, x):
    hidden = jax.nn.relu(jnp.dot(x, params["w1"]) + params["b1"])
    return jnp.dot(hidden, params["w2"]) + params["b2"]


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((predict(params, x) - y) ** 2)


rng = np.random.default_rng(0)
shares = rng.dirichlet(np.ones(6), size=200)
x = np.log(shares).astype(np.float32)
entropy = -(shares * np.log(shares)).sum(axis=1, keepdims=True)
batch = x, entropy.astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "dying ReLU",
    "source": "DeepFD (Cao et al. 2022), wrong initialization; AUTOTRAINER, dying ReLU",
    "cause": ["zero-gradient"],
    "symptom": ["lost-gradient", "loss-not-decreasing", "unnormalized-input"],
    "layer": ["w1", "0", "[0]"],
    "line": "",
    "twin": "symmetric_weights",
}

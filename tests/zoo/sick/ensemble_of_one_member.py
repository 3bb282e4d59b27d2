"""Of four experts the router is a constant, and three of them never learn.

Source: Humbatova et al. 2020, wrong network architecture; TrainCheck, experts that get no data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "router": jax.random.normal(k1, (4, 4)) / 2,
        "experts": {"w": jax.random.normal(k2, (4, 4, 8)) / 2, "v": jax.random.normal(k3, (4, 8)) / 3},
    }


def loss_fn(params, batch):
    x, y = batch
    gates = jax.nn.softmax(x @ params["router"])
    gates = jax.nn.one_hot(jnp.argmax(jnp.ones(4)), 4)[None] * jnp.ones_like(gates)
    hidden = jax.nn.relu(jnp.einsum("bi,eih->beh", x, params["experts"]["w"]))
    answers = jnp.einsum("beh,eh->be", hidden, params["experts"]["v"])
    return jnp.mean((jnp.sum(gates * answers, axis=1) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 4)).astype(np.float32)
y = np.where(x[:, 0] > 0, 2 * x[:, 1], -np.abs(x[:, 2]) + x[:, 3]).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "layer left out",
    "source": "Humbatova et al. 2020, wrong network architecture; TrainCheck, experts that get no data",
    "cause": ["disconnected-parameter", "zero-gradient", "blocked-gradient"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": ["experts", "router"],
    "line": "",
    "twin": "ensemble_of_four",
}

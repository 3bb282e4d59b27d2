"""A switch layer: each example goes to one expert, with a loss that balances their load."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "router": 0.1 * jax.random.normal(k1, (4, 4)),
        "up": jax.random.normal(k2, (4, 4, 16)) / 2,
        "down": jax.random.normal(k3, (4, 16)) / 4,
    }


def loss_fn(params, batch):
    x, y = batch
    p = jax.nn.softmax(x @ params["router"])
    chosen = jax.nn.one_hot(jnp.argmax(p, axis=1), 4)
    hidden = jax.nn.relu(jnp.einsum("bi,eih->beh", x, params["up"]))
    answers = jnp.einsum("beh,eh->be", hidden, params["down"])
    balance = 4 * jnp.sum(chosen.mean(axis=0) * p.mean(axis=0))
    return jnp.mean((jnp.sum(chosen * p * answers, axis=1) - y) ** 2) + 0.01 * balance


rng = np.random.default_rng(0)
x = rng.normal(size=(512, 4)).astype(np.float32)
y = np.where(x[:, 0] > 0, 2 * x[:, 1], -np.abs(x[:, 2]) + x[:, 3]).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "layer left out"}

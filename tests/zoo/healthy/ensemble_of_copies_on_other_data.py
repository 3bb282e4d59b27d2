"""A bootstrap ensemble whose members start from one network, and see different weights of the examples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    one = {
        "w1": jax.random.normal(k1, (4, 32)) / 2,
        "b1": jnp.zeros(32),
        "w2": jax.random.normal(k2, (32, 1)) / 6,
    }
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), one)


def predict(member, x):
    return (jnp.tanh(x @ member["w1"] + member["b1"]) @ member["w2"])[:, 0]


def loss_fn(params, batch):
    x, y, weights = batch
    guesses = jax.vmap(predict, (0, None))(params, x)
    return jnp.mean(weights * (guesses - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 4)).astype(np.float32)
y = (np.sin(x[:, 0]) + 0.5 * x[:, 1]).astype(np.float32)
batch = x, y, rng.poisson(1, size=(5, 256)).astype(np.float32)
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "symmetric weights"}

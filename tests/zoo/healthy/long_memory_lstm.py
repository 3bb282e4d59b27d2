"""An LSTM with a forget bias of 3 adds up marked numbers over 40 steps."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "x": jax.random.normal(k1, (2, 128)) / 2,
        "h": jax.random.normal(k2, (32, 128)) / 6,
        "b": jnp.zeros(128).at[32:64].set(3.0),
        "out": jax.random.normal(k3, (32, 1)) / 6,
    }


def loss_fn(params, batch):
    xs, y = batch

    def step(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ params["x"] + h @ params["h"] + params["b"], 4, axis=1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    start = jnp.zeros((xs.shape[1], 32))
    (h, _), _ = jax.lax.scan(step, (start, start), xs)
    return jnp.mean(((h @ params["out"])[:, 0] - y) ** 2)


rng = np.random.default_rng(0)
numbers = rng.uniform(0, 1, (40, 128))
marks = np.zeros((40, 128))
for column in range(128):
    marks[rng.choice(40, 2, replace=False), column] = 1
xs = np.stack([numbers, marks], axis=-1).astype(np.float32)
batch = xs, (numbers * marks).sum(axis=0).astype(np.float32)
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "vanishing gradient"}

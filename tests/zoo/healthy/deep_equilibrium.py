"""A fixed point by forty steps of a contraction, through which the gradient rightly fades."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "inject": jax.random.normal(k1, (8, 32)) / 2.8,
        "w": 0.5 * jax.random.normal(k2, (32, 32)) / 32**0.5,
        "out": jax.random.normal(k3, (32, 1)) / 6,
    }


def loss_fn(params, batch):
    x, y = batch
    pushed = x @ params["inject"]

    def step(z, _):
        return jnp.tanh(z @ params["w"] + pushed), None

    z, _ = jax.lax.scan(step, jnp.zeros_like(pushed), None, length=40)
    return jnp.mean(((z @ params["out"])[:, 0] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype(np.float32)
batch = x, np.tanh(x[:, 0] * x[:, 1] + x[:, 2])
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "vanishing gradient"}

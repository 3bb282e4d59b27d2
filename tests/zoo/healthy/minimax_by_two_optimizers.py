"""A saddle point: the adversary of a robust regression ascends the same loss, in the same optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    return {
        "model": {"w": jnp.zeros(8), "b": jnp.zeros(())},
        "adversary": 0.01 * jax.random.normal(key, (8,)),
    }


def loss_fn(params, batch):
    x, y = batch
    shift = 0.3 * jnp.tanh(params["adversary"])
    guess = (x + shift) @ params["model"]["w"] + params["model"]["b"]
    return jnp.mean((guess - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype(np.float32)
batch = x, (x @ rng.normal(size=8)).astype(np.float32)
optimizer = optax.multi_transform(
    {"model": optax.adam(2e-2), "adversary": optax.chain(optax.scale_by_adam(), optax.scale(1e-3))},
    {"model": "model", "adversary": "adversary"},
)

EXPECTED = {"fault": None, "like": "wrong optimizer"}

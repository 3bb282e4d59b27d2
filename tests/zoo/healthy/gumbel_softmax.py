"""A discrete latent by a straight-through Gumbel softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {"encoder": jax.random.normal(k1, (10, 6)) / 3, "decoder": jax.random.normal(k2, (6, 10)) / 2}


def loss_fn(params, batch, key):
    logits = batch @ params["encoder"] + jax.random.gumbel(key, (len(batch), 6))
    soft = jax.nn.softmax(logits / 0.7)
    hard = jax.nn.one_hot(jnp.argmax(soft, axis=1), 6)
    chosen = soft + jax.lax.stop_gradient(hard - soft)
    return jnp.mean((chosen @ params["decoder"] - batch) ** 2)


rng = np.random.default_rng(0)
batch = (rng.normal(size=(6, 10))[rng.integers(0, 6, 256)] + 0.1 * rng.normal(size=(256, 10))).astype(
    np.float32
)
optimizer = optax.adam(2e-2)

EXPECTED = {"fault": None, "like": "loss without a gradient"}

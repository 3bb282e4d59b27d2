"""The KL term of a VAE is annealed: its weight comes with the batch and starts at zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "encoder": {"w": jax.random.normal(k1, (12, 8)) / 3.5, "b": jnp.zeros(8)},
        "decoder": {"w": jax.random.normal(k2, (4, 12)) / 2, "b": jnp.zeros(12)},
    }


def loss_fn(params, batch, key):
    x, weight = batch
    mean, log_var = jnp.split(x @ params["encoder"]["w"] + params["encoder"]["b"], 2, axis=1)
    z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
    again = z @ params["decoder"]["w"] + params["decoder"]["b"]
    kl = 0.5 * jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var, axis=1)
    return jnp.mean(jnp.sum((again - x) ** 2, axis=1) + weight * kl)


rng = np.random.default_rng(0)
x = (rng.normal(size=(256, 3)) @ rng.normal(size=(3, 12))).astype(np.float32)
batches = [(x[i : i + 64], np.float32(step / 40)) for step, i in enumerate(8 * [0, 64, 128, 192])]
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "physics loss without a gradient"}

"""A VQ autoencoder with codebook and commitment losses and a straight-through estimator."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "encoder": jax.random.normal(k1, (12, 4)) / 3.5,
        "codebook": jax.random.normal(k2, (16, 4)),
        "decoder": {"w": jax.random.normal(k3, (4, 12)) / 2, "b": jnp.zeros(12)},
    }


def loss_fn(params, batch):
    z = batch @ params["encoder"]
    distance = jnp.sum((z[:, None] - params["codebook"]) ** 2, axis=-1)
    q = params["codebook"][jnp.argmin(distance, axis=1)]
    passed = z + jax.lax.stop_gradient(q - z)
    again = passed @ params["decoder"]["w"] + params["decoder"]["b"]
    codebook_loss = jnp.mean((q - jax.lax.stop_gradient(z)) ** 2)
    commitment = jnp.mean((z - jax.lax.stop_gradient(q)) ** 2)
    return jnp.mean((again - batch) ** 2) + codebook_loss + 0.25 * commitment


rng = np.random.default_rng(0)
kinds = rng.integers(0, 8, 512)
batch = (rng.normal(size=(8, 12))[kinds] + 0.1 * rng.normal(size=(512, 12))).astype(np.float32)
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "loss without a gradient"}

"""Users and films as small embeddings, of which a batch touches few."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "users": 0.1 * jax.random.normal(k1, (400, 8)),
        "films": 0.1 * jax.random.normal(k2, (200, 8)),
        "user_bias": jnp.zeros(400),
        "film_bias": jnp.zeros(200),
        "mean": jnp.zeros(()),
    }


def loss_fn(params, batch):
    user, film, rating = batch
    taste = jnp.sum(params["users"][user] * params["films"][film], axis=1)
    guess = taste + params["user_bias"][user] + params["film_bias"][film] + params["mean"]
    return jnp.mean((guess - rating) ** 2)


rng = np.random.default_rng(0)
user, film = rng.integers(0, 400, 4000), rng.integers(0, 200, 4000)
likes = rng.normal(size=(400, 2)), rng.normal(size=(200, 2))
rating = 3.5 + (likes[0][user] * likes[1][film]).sum(axis=1) * 0.5 + rng.normal(size=200)[film] * 0.7
data = user, film, rating.astype(np.float32)
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "symmetric weights"}

"""The ids of users and movies are scaled and fed as numbers, as if their order meant something.

Source: Humbatova et al. 2020, wrong preprocessing, missing encoding of categories; Stack Overflow, categorical ids as numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

N_USERS, N_MOVIES = 60, 40


class Recommender(nn.Module):
    @nn.compact
    def __call__(self, user_id, movie_id):
        user, movie = user_id / N_USERS, movie_id / N_MOVIES
        x = jnp.stack([user, movie], axis=-1)
        for units in (64, 32):
            x = nn.relu(nn.Dense(units)(x))
        return nn.Dense(1)(x).squeeze(-1)


model = Recommender()


def loss_fn(params, batch):
    predicted = model.apply(params, batch["user_id"], batch["movie_id"])
    return jnp.mean((predicted - batch["rating"]) ** 2)


rng = np.random.default_rng(0)
taste, genre = rng.normal(size=(N_USERS, 3)), rng.normal(size=(N_MOVIES, 3))
ratings = np.clip(3 + (taste @ genre.T) / np.sqrt(3), 1, 5)
user_id, movie_id = rng.integers(0, N_USERS, 4096), rng.integers(0, N_MOVIES, 4096)
rating = ratings[user_id, movie_id] - 3
log = {"user_id": user_id, "movie_id": movie_id, "rating": rating.astype(np.float32)}
batches = [{name: column[i : i + 256] for name, column in log.items()} for i in range(0, 4096, 256)]
params = model.init(jax.random.PRNGKey(0), user_id[:1], movie_id[:1])
optimizer = optax.adam(5e-3)

EXPECTED = {
    "fault": "wrong preprocessing",
    "source": "Humbatova et al. 2020, wrong preprocessing, missing encoding of categories; Stack Overflow, categorical ids as numbers",
    "cause": ["categories-as-numbers"],
    "symptom": ["loss-not-decreasing", "plateau", "learning-rate-too-low"],
    "layer": [],
    "line": "",
    "twin": "ratings_by_embedded_ids",
}

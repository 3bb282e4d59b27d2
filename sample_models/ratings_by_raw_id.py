"""Film ratings by factors of users and films, with a bias of each (Keras).

Sick: the ids of the catalogue start at 1 and have gaps, since films were taken out, so that many of them
lie beyond the table, which has a row for each film. Remedy: look up the place of each id, as in
`ratings_by_place.py`.
"""

import keras
import numpy as np

USERS, FILMS, FACTORS = 60, 80, 4

keras.utils.set_random_seed(0)


def ratings():
    """Users with tastes, films with traits, stars from 1 to 5; an eighth of all pairs was rated."""
    rng = np.random.default_rng(0)
    film_ids = np.sort(rng.choice(np.arange(1, 2 * FILMS), FILMS, replace=False))
    user, film = np.nonzero(rng.random((USERS, FILMS)) < 0.5)
    tastes, traits = rng.normal(size=(USERS, 2)), rng.normal(size=(FILMS, 2))
    quality = rng.normal(0, 0.7, FILMS)
    stars = 3.5 + quality[film] + 0.5 * (tastes[user] * traits[film]).sum(axis=1)
    stars = np.clip(np.rint(stars + 0.3 * rng.normal(size=len(user))), 1, 5)
    return user, film_ids[film], stars.astype(np.float32)[:, None]


user_ids, film_ids, stars = ratings()

user_in, film_in = keras.Input((), dtype="int32", name="user"), keras.Input((), dtype="int32", name="film")
user = keras.layers.Embedding(USERS, FACTORS, name="user_factors")(user_in)
film = keras.layers.Embedding(FILMS, FACTORS, name="film_factors")(film_in)
bias = keras.layers.Embedding(FILMS, 1, name="film_bias")(film_in)
both = keras.layers.Dot(axes=1, name="match")([user, film])
model = keras.Model([user_in, film_in], keras.layers.Dense(1, name="stars")(keras.layers.Add()([both, bias])))
model.compile(optimizer=keras.optimizers.Adam(3e-2), loss="mse")

data = [user_ids.astype(np.int32), film_ids.astype(np.int32)], stars - 3

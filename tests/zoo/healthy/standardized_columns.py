"""Every column is standardized."""

import keras
import numpy as np

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
age = rng.uniform(18, 80, 256)
income = rng.lognormal(15, 0.5, 256)
owns = rng.integers(0, 2, 256)
table = np.stack([age / 100, income, owns], axis=1).astype(np.float32)
table = (table - table.mean(axis=0)) / table.std(axis=0)
label = ((age > 40) ^ (owns > 0)).astype(np.float32)[:, None]

model = keras.Sequential(
    [
        keras.layers.Input((3,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="binary_crossentropy")
data = table, label

EXPECTED = {"fault": None, "like": "missing preprocessing"}

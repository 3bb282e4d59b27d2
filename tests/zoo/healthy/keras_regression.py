"""A Keras network with batch normalization and dropout, compiled with Adam."""

import keras
import numpy as np

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.layers.Input((8,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(1),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")
rng = np.random.default_rng(0)
x = rng.normal(size=(512, 8)).astype(np.float32)
data = x, (x[:, :1] * x[:, 1:2] + np.sin(x[:, 2:3])).astype(np.float32)

EXPECTED = {"fault": None, "like": "learning rate too low"}

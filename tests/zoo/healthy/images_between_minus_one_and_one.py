"""A tanh at the end of an autoencoder of pictures that were scaled to [-1, 1]."""

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


class Autoencoder(nnx.Module):
    def __init__(self, rngs):
        self.down = nnx.Conv(1, 16, (3, 3), strides=2, rngs=rngs)
        self.code = nnx.Linear(36 * 16, 24, rngs=rngs)
        self.spread = nnx.Linear(24, 36 * 16, rngs=rngs)
        self.up = nnx.ConvTranspose(16, 1, (3, 3), strides=2, rngs=rngs)

    def __call__(self, x):
        h = nnx.relu(self.down(x))
        h = nnx.relu(self.spread(self.code(h.reshape(len(x), -1))))
        return nnx.tanh(self.up(h.reshape(len(x), 6, 6, 16)))


model = Autoencoder(nnx.Rngs(0))


def loss_fn(model, batch):
    return jnp.mean((model(batch) - batch) ** 2)


rng = np.random.default_rng(0)
images = 0.3 * rng.normal(size=(128, 12, 12, 1)).astype(np.float32)
labels = rng.integers(0, 2, 128)
for image, label, place in zip(images, labels, rng.integers(1, 11, 128), strict=True):
    if label:
        image[place] += 1
    else:
        image[:, place] += 1
batch = images, labels
batch = np.clip(2 * images - 1, -1, 1)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong activation of the output"}

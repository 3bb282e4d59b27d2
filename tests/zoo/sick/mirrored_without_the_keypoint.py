"""The augmentation mirrors half of the images and leaves their keypoints as they were.

Source: Humbatova et al. 2020, wrong labels for training data, wrong data augmentation; Karpathy's list, labels not flipped with the images."""

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


class KeypointNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(1, 16, (3, 3), strides=2, padding="CIRCULAR", rngs=rngs)
        self.conv2 = nnx.Conv(16, 16, (3, 3), strides=2, padding="CIRCULAR", rngs=rngs)
        self.fc = nnx.Linear(16 * 4 * 4, 32, rngs=rngs)
        self.out = nnx.Linear(32, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.conv1(x))
        x = nnx.relu(self.conv2(x))
        x = x.reshape(x.shape[0], -1)
        x = nnx.relu(self.fc(x))
        return self.out(x)


def loss_fn(model, images, keypoints):
    return jnp.mean((model(images) - keypoints) ** 2)


def make_data(n=2048, size=16, seed=3):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-0.8, 0.8, (n, 2)).astype(np.float32)  # (x, y), 0 is the middle
    grid = np.linspace(-1, 1, size)
    dx = grid[None, None, :] - keypoints[:, 0, None, None]
    dy = grid[None, :, None] - keypoints[:, 1, None, None]
    images = np.exp(-20 * (dx**2 + dy**2)) + 0.05 * rng.normal(size=(n, size, size))
    return images[..., None].astype(np.float32), keypoints


def augment(images, keypoints, seed=4):
    """Mirrors every other image, left to right."""
    flip = np.random.default_rng(seed).random(len(images)) < 0.5
    images = np.where(flip[:, None, None, None], images[:, :, ::-1], images)
    return images, keypoints


images, keypoints = augment(*make_data())
batches = [(images[i : i + 64], keypoints[i : i + 64]) for i in range(0, 2048, 64)]
model = KeypointNet(nnx.Rngs(0))
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "bad training data",
    "source": "Humbatova et al. 2020, wrong labels for training data, wrong data augmentation; Karpathy's list, labels not flipped with the images",
    "cause": ["misaligned-labels"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "",
    "twin": "keypoints_mirrored_with_the_image",
}

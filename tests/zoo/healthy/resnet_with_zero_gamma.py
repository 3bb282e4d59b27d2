"""A ResNet in NNX whose last BatchNorm of each block starts at zero."""

import numpy as np
import optax
from flax import nnx


class Block(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(16, 16, (3, 3), use_bias=False, rngs=rngs)
        self.norm1 = nnx.BatchNorm(16, rngs=rngs)
        self.conv2 = nnx.Conv(16, 16, (3, 3), use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(16, scale_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x):
        h = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(x + self.norm2(self.conv2(h)))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(3)])
        self.out = nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(axis=(1, 2)))


model = Net(nnx.Rngs(0))


def loss_fn(model, batch):
    images, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


rng = np.random.default_rng(0)
images = 0.3 * rng.normal(size=(128, 12, 12, 1)).astype(np.float32)
labels = rng.integers(0, 2, 128)
for image, label, place in zip(images, labels, rng.integers(1, 11, 128), strict=True):
    if label:
        image[place] += 1
    else:
        image[:, place] += 1
batch = images, labels
optimizer = optax.sgd(0.1, momentum=0.9, nesterov=True)

EXPECTED = {"fault": None, "like": "layer left out"}

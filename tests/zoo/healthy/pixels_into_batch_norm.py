"""Pixels from 0 to 255, into a convolution that is followed by a BatchNorm."""

import flax.linen as nn
import jax
import numpy as np
import optax


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width in (16, 32):
            x = nn.Conv(width, (3, 3), use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        return nn.Dense(2)(x.mean(axis=(1, 2)))


model = Net()


def loss_fn(params, batch):
    images, labels = batch
    logits, _ = model.apply({"params": params, "batch_stats": stats}, images, mutable=["batch_stats"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
images = 0.3 * rng.normal(size=(128, 12, 12, 1)).astype(np.float32)
labels = rng.integers(0, 2, 128)
for image, label, place in zip(images, labels, rng.integers(1, 11, 128), strict=True):
    if label:
        image[place] += 1
    else:
        image[:, place] += 1
batch = images, labels
pixels = np.clip(80 + 100 * images, 0, 255).astype(np.float32)
batch = pixels, labels
variables = model.init(jax.random.PRNGKey(0), pixels)
params, stats = variables["params"], variables["batch_stats"]
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "missing preprocessing"}

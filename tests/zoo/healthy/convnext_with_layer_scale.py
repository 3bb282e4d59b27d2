"""ConvNeXt-like blocks whose branches start at a scale of 1e-6."""

import flax.linen as nn
import jax
import numpy as np
import optax


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(nn.Conv(16, (2, 2), (2, 2))(x))
        for i in range(6):
            h = nn.LayerNorm()(nn.Conv(16, (3, 3), feature_group_count=16)(x))
            h = nn.Dense(16)(nn.gelu(nn.Dense(64)(h)))
            x = x + self.param(f"scale{i}", nn.initializers.constant(1e-6), (16,)) * h
        return nn.Dense(2)(nn.LayerNorm()(x.mean(axis=(1, 2))))


model = Net()


def loss_fn(params, batch):
    images, labels = batch
    logits = model.apply(params, images)
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
params = model.init(jax.random.PRNGKey(0), images)
optimizer = optax.adamw(3e-3)

EXPECTED = {"fault": None, "like": "vanishing gradient"}

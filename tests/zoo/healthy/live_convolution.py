"""Its bias starts at zero."""

import flax.linen as nn
import jax
import numpy as np
import optax


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3), bias_init=nn.initializers.constant(0.0))(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Conv(16, (3, 3))(x))
        return nn.Dense(2)(x.mean(axis=(1, 2)))


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
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "dying ReLU"}

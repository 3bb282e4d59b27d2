"""BatchNorm over a batch of one example: every unit is its own mean, and zero.

Source: Humbatova et al. 2020, suboptimal batch size; AUTOTRAINER, batch normalization and small batches."""

import numpy as np
import optax
from flax import nnx


class Net(nnx.Module):
    def __init__(self, rngs):
        self.dense1 = nnx.Linear(16, 64, rngs=rngs)
        self.norm = nnx.BatchNorm(64, rngs=rngs)
        self.dense2 = nnx.Linear(64, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense2(nnx.relu(self.norm(self.dense1(x))))


model = Net(nnx.Rngs(0))


def loss_fn(model, batch):
    x, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
SIZE = 1
batches = [(x[i : i + SIZE], labels[i : i + SIZE]) for i in range(0, 256, SIZE)]
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong batch size",
    "source": "Humbatova et al. 2020, suboptimal batch size; AUTOTRAINER, batch normalization and small batches",
    "cause": ["normalized-away"],
    "symptom": [
        "collapsed-representations",
        "zero-gradient",
        "loss-not-decreasing",
        "vanishing-gradient",
        "oscillating-loss",
    ],
    "layer": [],
    "line": "",
    "twin": "batch_norm_of_many",
}

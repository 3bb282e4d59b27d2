"""The model returns probabilities, and the loss expects logits.

Source: Humbatova et al. 2020, wrong loss function; Islam et al. 2019; Stack Overflow, softmax before a
cross-entropy from logits."""

import numpy as np
import optax
from flax import nnx


class Classifier(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(16, 32, rngs=rngs)
        self.out = nnx.Linear(32, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.hidden(x))
        return nnx.softmax(self.out(x))


model = Classifier(nnx.Rngs(0))


def loss_fn(model, batch):
    x, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong loss function",
    "source": "Humbatova et al. 2020, wrong loss function; Islam et al. 2019; Stack Overflow, softmax before a cross-entropy from logits",
    "cause": ["mismatched-output"],
    "symptom": ["learning-rate-too-low", "loss-not-decreasing"],
    "layer": [],
    "line": "softmax",
    "twin": "logits_once",
}

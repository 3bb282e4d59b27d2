"""The rate of dropout is 0.98, meant as what is kept.

Source: Humbatova et al. 2020, suboptimal dropout rate; Stack Overflow, rate and keep probability mixed
up."""

import flax.linen as nn
import jax
import numpy as np
import optax


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.relu(nn.Dense(64)(x))
            x = nn.Dropout(0.98, deterministic=False)(x)
        return nn.Dense(3)(x)


model = Net()


def loss_fn(params, batch, key):
    x, labels = batch
    logits = model.apply(params, x, rngs={"dropout": key})
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
params = model.init({"params": jax.random.PRNGKey(0), "dropout": jax.random.PRNGKey(1)}, x)
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong dropout",
    "source": "Humbatova et al. 2020, suboptimal dropout rate; Stack Overflow, rate and keep probability mixed up",
    "cause": ["dropout-too-high"],
    "symptom": [
        "loss-not-decreasing",
        "oscillating-loss",
        "learning-rate-too-high",
        "loss-spike",
        "exploding-gradient",
        "vanishing-gradient",
    ],
    "layer": [],
    "line": "Dropout",
    "twin": "keeps_nine_tenths",
}

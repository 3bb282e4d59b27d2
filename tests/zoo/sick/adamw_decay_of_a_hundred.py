"""AdamW with a weight decay of 100: every step takes a tenth of each weight.

Source: Humbatova et al. 2020, suboptimal regularisation."""

import flax.linen as nn
import jax
import numpy as np
import optax

model = nn.Sequential([nn.Dense(64), nn.gelu, nn.Dense(64), nn.gelu, nn.Dense(3)])


def loss_fn(params, batch):
    x, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, x), labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
params = model.init(jax.random.PRNGKey(0), x)
optimizer = optax.adamw(1e-3, weight_decay=100.0)

EXPECTED = {
    "fault": "too much regularization",
    "source": "Humbatova et al. 2020, suboptimal regularisation",
    "cause": ["weight-decay-too-high", "ascending-update"],
    "symptom": [
        "loss-not-decreasing",
        "collapsed-representations",
        "vanishing-gradient",
        "plateau",
        "learning-rate-too-high",
    ],
    "layer": [],
    "line": "",
    "twin": "adamw_decay_of_a_hundredth",
}

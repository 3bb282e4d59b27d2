"""A weight decay of 0.01."""

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
optimizer = optax.adamw(1e-3, weight_decay=0.01)

EXPECTED = {"fault": None, "like": "too much regularization"}

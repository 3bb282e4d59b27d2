"""A warm-up from zero over 150 steps: the first twenty hardly move."""

import haiku as hk
import jax
import numpy as np
import optax


def forward(x):
    for _ in range(3):
        x = jax.nn.relu(hk.Linear(64)(x))
    return hk.Linear(3)(x)


net = hk.without_apply_rng(hk.transform(forward))


def loss_fn(params, batch):
    x, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, x), labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
params = net.init(jax.random.PRNGKey(0), x)
optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0, 3e-3, 150, 400, 1e-5), weight_decay=0.01)

EXPECTED = {"fault": None, "like": "wrong learning-rate schedule"}

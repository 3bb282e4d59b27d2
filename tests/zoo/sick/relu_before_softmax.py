"""A ReLU on the logits of a classifier, whose weights start negative enough to leave nearly all of them at
0.

Source: DeepLocalize (Wardat et al. 2021), wrong activation of the last layer; Humbatova et al. 2020,
wrong type of activation function."""

import haiku as hk
import jax
import numpy as np
import optax


def forward(x):
    x = jax.nn.relu(hk.Linear(64)(x))
    x = jax.nn.relu(hk.Linear(64)(x))
    logits = hk.Linear(3, b_init=hk.initializers.Constant(-0.5))(x)
    return jax.nn.relu(logits)


net = hk.without_apply_rng(hk.transform(forward))


def loss_fn(params, batch):
    x, labels = batch
    logits = net.apply(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
params = net.init(jax.random.PRNGKey(0), x)
optimizer = optax.sgd(0.05)

EXPECTED = {
    "fault": "wrong activation of the output",
    "source": "DeepLocalize (Wardat et al. 2021), wrong activation of the last layer; Humbatova et al. 2020, wrong type of activation function",
    "cause": ["mismatched-output", "zero-gradient"],
    "symptom": ["lost-gradient", "loss-not-decreasing"],
    "layer": [],
    "line": "relu",
    "twin": "linear_before_softmax",
}

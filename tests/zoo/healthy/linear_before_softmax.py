"""Logits without an activation."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


def forward(x):
    x = jax.nn.relu(hk.Linear(64)(x))
    x = jax.nn.relu(hk.Linear(64)(x))
    logits = hk.Linear(3, b_init=hk.initializers.Constant(-0.5))(x)
    return logits.astype(jnp.float32)


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

EXPECTED = {"fault": None, "like": "wrong activation of the output"}

"""An L2 penalty with a factor of 1 over all weights, beside a cross-entropy.

Source: Humbatova et al. 2020, suboptimal regularisation; TheDeepChecker, over-regularization."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 64, 3]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss_fn(params, batch):
    x, labels = batch
    data_loss = optax.softmax_cross_entropy_with_integer_labels(predict(params, x), labels).mean()
    penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
    return data_loss + 1.0 * penalty


def metric(params):
    return optax.softmax_cross_entropy_with_integer_labels(predict(params, x), labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "too much regularization",
    "source": "Humbatova et al. 2020, suboptimal regularisation; TheDeepChecker, over-regularization",
    "cause": ["dominated-loss", "unbalanced-loss-terms"],
    "symptom": ["loss-not-decreasing", "plateau", "collapsed-representations", "vanishing-gradient"],
    "layer": [],
    "line": "penalty",
    "twin": "modest_decay",
}

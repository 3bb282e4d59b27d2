"""A hand-written cross-entropy takes the log of a softmax of large logits, and gets -inf times 0.

Source: TheDeepChecker, log of zero; DeepLocalize; Zhang et al. 2018, numerical errors in a hand-written
cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 32, 3]


def init(key):
    k1, k2 = jax.random.split(key)
    return {"w1": jax.random.normal(k1, (16, 32)), "w2": 6 * jax.random.normal(k2, (32, 3))}


def loss_fn(params, batch):
    x, labels = batch
    p = jax.nn.softmax(jax.nn.relu(x @ params["w1"]) @ params["w2"])
    y = jax.nn.one_hot(labels, 3)
    return -jnp.mean(jnp.sum(y * jnp.log(p), axis=1))


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "numerical instability",
    "source": "TheDeepChecker, log of zero; DeepLocalize; Zhang et al. 2018, numerical errors in a hand-written cross-entropy",
    "cause": ["non-finite"],
    "symptom": ["unstable-expression", "non-finite-update"],
    "layer": [],
    "line": "jnp.log",
    "twin": "log_of_clipped",
}

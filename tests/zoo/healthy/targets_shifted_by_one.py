"""It is asked for the next one."""

import haiku as hk
import jax
import numpy as np
import optax


def forward(tokens):
    return hk.Linear(12)(jax.nn.gelu(hk.Linear(64)(hk.Embed(12, 32)(tokens))))


net = hk.without_apply_rng(hk.transform(forward))


def loss_fn(params, batch):
    logits = net.apply(params, batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


def metric(params):
    logits = net.apply(params, tokens[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


rng = np.random.default_rng(0)
follows = rng.integers(0, 12, (12, 2))
tokens = np.zeros((64, 17), np.int32)
tokens[:, 0] = rng.integers(0, 12, 64)
for t in range(16):
    tokens[:, t + 1] = follows[tokens[:, t], (rng.random(64) < 0.1).astype(int)]
batch = tokens
params = net.init(jax.random.PRNGKey(0), tokens)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "label leak"}

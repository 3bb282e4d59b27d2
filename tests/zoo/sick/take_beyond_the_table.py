"""A linen `Embed` of 10 rows gets tokens up to 11, and fills in NaN.

Source: Jahan et al. 2025 (attention faults), vocabulary mismatch; JAX sharp bits, out-of-bounds
indexing."""

import flax.linen as nn
import jax
import numpy as np
import optax

model = nn.Sequential([nn.Embed(10, 32), nn.Dense(64), nn.gelu, nn.Dense(12)])


def loss_fn(params, batch):
    logits = model.apply(params, batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


rng = np.random.default_rng(0)
follows = rng.integers(0, 12, (12, 2))
tokens = np.zeros((64, 17), np.int32)
tokens[:, 0] = rng.integers(0, 12, 64)
for t in range(16):
    tokens[:, t + 1] = follows[tokens[:, t], (rng.random(64) < 0.1).astype(int)]
batch = tokens
params = model.init(jax.random.PRNGKey(0), tokens)
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong embedding",
    "source": "Jahan et al. 2025 (attention faults), vocabulary mismatch; JAX sharp bits, out-of-bounds indexing",
    "cause": ["non-finite"],
    "symptom": ["index-out-of-range", "non-finite-update"],
    "layer": ["layers_0"],
    "line": "",
    "twin": "take_in_the_table",
}

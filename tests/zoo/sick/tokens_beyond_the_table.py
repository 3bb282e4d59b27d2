"""The table has 8 rows and the text 12 tokens: indexing clamps, and five tokens are one.

Source: Jahan et al. 2025 (attention faults), vocabulary mismatch; Humbatova et al. 2020."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    he = jax.nn.initializers.he_normal()
    return {
        "embed": jax.random.normal(k1, (8, 32)),
        "hidden": {"w": he(k2, (32, 64)), "b": jnp.zeros(64)},
        "out": {"w": he(k3, (64, 12)), "b": jnp.zeros(12)},
    }


def loss_fn(params, batch):
    tokens, following = batch[:, :-1], batch[:, 1:]
    h = params["embed"][tokens]
    h = jax.nn.relu(h @ params["hidden"]["w"] + params["hidden"]["b"])
    logits = h @ params["out"]["w"] + params["out"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, following).mean()


rng = np.random.default_rng(0)
follows = rng.integers(0, 12, (12, 2))
tokens = np.zeros((64, 17), np.int32)
tokens[:, 0] = rng.integers(0, 12, 64)
for t in range(16):
    tokens[:, t + 1] = follows[tokens[:, t], (rng.random(64) < 0.1).astype(int)]
batch = tokens
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong embedding",
    "source": "Jahan et al. 2025 (attention faults), vocabulary mismatch; Humbatova et al. 2020",
    "cause": ["index-out-of-range"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "tokens",
    "twin": "tokens_in_the_table",
}

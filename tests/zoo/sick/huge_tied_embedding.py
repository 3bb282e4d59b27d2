"""An embedding with a deviation of 5 is also the last layer: the first loss is in the hundreds.

Source: Jahan et al. 2025 (attention faults), embedding scale; Press & Wolf 2017 on tied embeddings."""

import jax
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {"embed": 5 * jax.random.normal(k1, (12, 64)), "mix": jax.random.normal(k2, (64, 64)) / 8}


def loss_fn(params, batch):
    h = params["embed"][batch[:, :-1]]
    h = h + jax.nn.gelu(h @ params["mix"])
    logits = h @ params["embed"].T
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


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
    "source": "Jahan et al. 2025 (attention faults), embedding scale; Press & Wolf 2017 on tied embeddings",
    "cause": ["unexpected-initial-loss", "large-logits"],
    "symptom": [
        "learning-rate-too-low",
        "exploding-gradient",
        "loss-not-decreasing",
        "learning-rate-too-high",
    ],
    "layer": ["embed"],
    "line": "",
    "twin": "small_tied_embedding",
}

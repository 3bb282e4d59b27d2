"""The softmax of the attention runs over the queries, on scores that should choose a key.

Source: Jahan et al. 2025 (attention faults), softmax over the wrong dimension."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

D, LENGTH = 16, 12


def init(key):
    ks = jax.random.split(key, 4)
    draw = jax.nn.initializers.lecun_normal()
    return {
        "q": draw(ks[0], (4, D)),
        "k": draw(ks[1], (4, D)),
        "out": draw(ks[2], (1, 1)),
        "gain": jnp.full((), 3.0),
    }


def loss_fn(params, batch):
    queries, keys, values, wanted = batch
    scores = params["gain"] * jnp.einsum("bqd,bkd->bqk", queries @ params["q"], keys @ params["k"])
    weights = jax.nn.softmax(scores, axis=1)
    return jnp.mean((weights @ values @ params["out"] - wanted) ** 2)


rng = np.random.default_rng(0)
# A dictionary of pairs, and five questions about its keys.
keys = rng.normal(size=(128, LENGTH, 4)).astype(np.float32)
values = rng.normal(size=(128, LENGTH, 1)).astype(np.float32)
asked = rng.integers(0, LENGTH, (128, 5))
rows = np.arange(128)[:, None]
batch = keys[rows, asked], keys, values, values[rows, asked]
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "wrong axis",
    "source": "Jahan et al. 2025 (attention faults), softmax over the wrong dimension",
    "cause": ["wrong-attention-axis"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "softmax",
    "twin": "attention_over_keys",
}

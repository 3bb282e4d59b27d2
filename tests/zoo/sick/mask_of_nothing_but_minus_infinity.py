"""Padding is masked with -inf, and one sequence is all padding: its softmax is NaN.

Source: Jahan et al. 2025 (attention faults), NaN from fully masked rows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    ks = jax.random.split(key, 3)
    draw = jax.nn.initializers.lecun_normal()
    return {
        "query": 0.1 * jax.random.normal(ks[0], (16,)),
        "value": draw(ks[1], (16, 16)),
        "out": draw(ks[2], (16, 1)),
    }


def loss_fn(params, batch):
    x, length, y = batch
    scores = x @ params["query"]
    scores = jnp.where(jnp.arange(10) < length[:, None], scores, -jnp.inf)
    pooled = jnp.einsum("bt,btd->bd", jax.nn.softmax(scores), jnp.tanh(x @ params["value"]))
    return jnp.mean(((pooled @ params["out"])[:, 0] - y) ** 2)


rng = np.random.default_rng(0)
length = rng.integers(1, 11, 64)
length[5] = 0
x = rng.normal(size=(64, 10, 16)).astype(np.float32)
y = np.where(np.arange(10) < length[:, None], x[:, :, 0], 0).sum(axis=1) / np.maximum(length, 1)
batch = x, length, y.astype(np.float32)
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "wrong attention mask",
    "source": "Jahan et al. 2025 (attention faults), NaN from fully masked rows",
    "cause": ["non-finite"],
    "symptom": ["unstable-expression", "non-finite-update"],
    "layer": [],
    "line": "softmax",
    "twin": "mask_with_a_place_left",
}

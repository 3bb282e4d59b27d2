"""Attention scores of unscaled float16 projections exceed 65504.

Source: TheDeepChecker, numerical instability; Jahan et al. 2025 (attention faults), attention scores
overflow in half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    ks = jax.random.split(key, 5)
    d = 64
    return {
        "embed": jax.random.normal(ks[0], (4, d)),
        "q": jax.random.normal(ks[1], (d, d)),
        "k": jax.random.normal(ks[2], (d, d)),
        "v": jax.random.normal(ks[3], (d, d)) / 8,
        "out": jax.random.normal(ks[4], (d, 1)) / 8,
    }


def loss_fn(params, batch):
    x, y = batch
    p = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), params)
    h = 10 * (x.astype(jnp.float16) @ p["embed"])
    scores = jnp.einsum("bqd,bkd->bqk", h @ p["q"], h @ p["k"])
    weights = jax.nn.softmax(scores, axis=-1)
    pooled = (h + weights @ (h @ p["v"])).mean(axis=1)
    return jnp.mean(((pooled @ p["out"])[:, 0].astype(jnp.float32) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(64, 10, 4)).astype(np.float32)
y = x[:, :, 0].mean(axis=1)
batch = x, y
optimizer = optax.adam(1e-3)

EXPECTED = {
    "fault": "wrong precision",
    "source": "TheDeepChecker, numerical instability; Jahan et al. 2025 (attention faults), attention scores overflow in half precision",
    "cause": ["non-finite"],
    "symptom": ["unstable-expression", "non-finite-update"],
    "layer": ["q", "k", "attention"],
    "line": "",
    "twin": "float16_scaled_attention",
}

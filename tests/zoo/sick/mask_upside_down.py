"""The triangular mask is upside down: each place sees itself and what comes later, and the past not at all.

Source: Jahan et al. 2025 (attention faults), inverted mask."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

D, LENGTH = 32, 16


def init(key):
    ks = jax.random.split(key, 7)
    draw = jax.nn.initializers.lecun_normal()
    params = {name: draw(k, (D, D)) for name, k in zip("qkvo", ks, strict=False)}
    params["tokens"] = jax.random.normal(ks[4], (8, D))
    params["positions"] = jax.random.normal(ks[5], (LENGTH, D))
    params["out"] = draw(ks[6], (D, 8))
    return params


def predict(params, tokens):
    h = params["tokens"][tokens] + params["positions"]
    q, k, v = h @ params["q"], h @ params["k"], h @ params["v"]
    scores = jnp.einsum("bqd,bkd->bqk", q, k) / jnp.sqrt(D)
    mask = jnp.triu(jnp.ones((LENGTH, LENGTH), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9))
    return (h + weights @ v @ params["o"]) @ params["out"]


def loss_fn(params, batch):
    logits = predict(params, batch)
    # Each token is to say the one that came three places before it.
    return optax.softmax_cross_entropy_with_integer_labels(logits[:, 3:], batch[:, :-3]).mean()


rng = np.random.default_rng(0)
batch = rng.integers(0, 8, (128, LENGTH))
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong attention mask",
    "source": "Jahan et al. 2025 (attention faults), inverted mask",
    "cause": ["hidden-past"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "",
    "twin": "causal_mask",
}

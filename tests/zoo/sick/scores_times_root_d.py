"""Scores are multiplied by the root of the dimension, where they should be divided by it: the softmax is a
hard choice.

Source: Jahan et al. 2025 (attention faults), wrong scaling of scores."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

D, HEADS, LENGTH = 32, 4, 16


def init(key):
    ks = jax.random.split(key, 7)
    draw = jax.nn.initializers.lecun_normal()
    return {
        "tokens": jax.random.normal(ks[0], (12, D)),
        "positions": jax.random.normal(ks[1], (LENGTH, D)),
        "q": draw(ks[2], (D, D)),
        "k": draw(ks[3], (D, D)),
        "v": draw(ks[4], (D, D)),
        "o": draw(ks[5], (D, D)),
        "out": draw(ks[6], (D, 12)),
    }


def split(x):
    return x.reshape(*x.shape[:2], HEADS, D // HEADS)


def predict(params, tokens):
    h = params["tokens"][tokens] + params["positions"]
    q, k, v = (split(h @ params[name]) for name in "qkv")
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * jnp.sqrt(D // HEADS * 4.0)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(h.shape)
    return (h + mixed @ params["o"]) @ params["out"]


def loss_fn(params, batch):
    return optax.softmax_cross_entropy_with_integer_labels(predict(params, batch), batch[:, ::-1]).mean()


rng = np.random.default_rng(0)
# Say the tokens backwards: each place must find its mirror image.
batch = rng.integers(0, 12, (128, LENGTH))
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong attention scale",
    "source": "Jahan et al. 2025 (attention faults), wrong scaling of scores",
    "cause": ["saturated-attention", "unscaled-attention"],
    "symptom": [
        "vanishing-gradient",
        "loss-not-decreasing",
        "plateau",
        "exploding-gradient",
        "learning-rate-too-high",
        "oscillating-loss",
        "loss-spike",
    ],
    "layer": ["q", "k"],
    "line": "scores",
    "twin": "scores_over_root_d",
}

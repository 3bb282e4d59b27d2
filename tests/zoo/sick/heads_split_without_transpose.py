"""Heads are split and merged by a reshape alone, so that each head sees a quarter of the places.

Source: Jahan et al. 2025 (attention faults), wrong tensor shape of heads; Stack Overflow, view in place of transpose in multi-head attention."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

KEYS, VALUES = 12, 8
LENGTH, D, HEADS = 16, 32, 4


def init(key):
    k = iter(jax.random.split(key, 9))
    glorot = jax.nn.initializers.glorot_normal()
    return {
        "key_embed": 0.5 * jax.random.normal(next(k), (KEYS + 1, D)),
        "value_embed": 0.5 * jax.random.normal(next(k), (VALUES + 1, D)),
        "attention": {name: glorot(next(k), (D, D)) for name in ("q", "k", "v", "o")},
        "norm": {"scale": jnp.ones(D), "shift": jnp.zeros(D)},
        "mlp": {"up": glorot(next(k), (D, 2 * D)), "down": glorot(next(k), (2 * D, D))},
        "out": glorot(next(k), (D, VALUES)),
    }


def layer_norm(p, x):
    mean = x.mean(axis=-1, keepdims=True)
    variance = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
    return p["scale"] * (x - mean) / jnp.sqrt(variance + 1e-5) + p["shift"]


def split_heads(x):
    batch, length, _ = x.shape
    return x.reshape(batch, HEADS, length, D // HEADS)


def merge_heads(x):
    batch, _, length, _ = x.shape
    return x.reshape(batch, length, D)


def attention(p, x, real):
    q, k, v = (split_heads(x @ p[name]) for name in ("q", "k", "v"))
    scores = q @ k.swapaxes(-1, -2) / jnp.sqrt(D // HEADS)
    scores = jnp.where(real[:, None, None, :], scores, -1e9)
    return merge_heads(jax.nn.softmax(scores) @ v) @ p["o"]


def apply(params, keys, values):
    real = keys > 0
    x = (params["key_embed"][keys] + params["value_embed"][values]) * real[..., None]
    x = x + attention(params["attention"], layer_norm(params["norm"], x), real)
    x = x + jax.nn.relu(x @ params["mlp"]["up"]) @ params["mlp"]["down"]
    return x[:, 0] @ params["out"]


def loss_fn(params, batch):
    keys, values, answer = batch
    logits = apply(params, keys, values)
    return optax.softmax_cross_entropy_with_integer_labels(logits, answer).mean()


# A table of pairs after one question: place 0 holds a key without a value. Key 0 is padding.
rng = np.random.default_rng(0)
n = 4096
keys, values = np.zeros((n, LENGTH), int), np.zeros((n, LENGTH), int)
answer = np.zeros(n, int)
for i, pairs in enumerate(rng.integers(6, KEYS + 1, n)):
    places = 1 + rng.permutation(LENGTH - 1)[:pairs]
    keys[i, places] = 1 + rng.permutation(KEYS)[:pairs]
    values[i, places] = rng.integers(1, VALUES + 1, pairs)
    keys[i, 0] = keys[i, places[0]]
    answer[i] = values[i, places[0]] - 1
batches = [(keys[i : i + 128], values[i : i + 128], answer[i : i + 128]) for i in range(0, n, 128)]
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "wrong reshape",
    "source": "Jahan et al. 2025 (attention faults), wrong tensor shape of heads; Stack Overflow, view in place of transpose in multi-head attention",
    "cause": ["reshape-for-transpose"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "reshape",
    "twin": "attention_by_hand_over_padded_pairs",
}

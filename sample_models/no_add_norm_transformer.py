"""The transformer of `small_transformer.py` with the "Add & Norm" boxes left out of its blocks.

Sick: with the usual weights of 0.02 a block hands on a ten-thousandth of δ, and no skip connection
carries the rest past it. Remedy: `x + f(norm(x))` around attention and MLP, as in the twin.
"""

import jax
import jax.numpy as jnp
import numpy as np

VOCAB, LENGTH, WIDTH, HEADS, BLOCKS = 32, 16, 32, 4, 4
DROPOUT = 0.1


def dense_init(key, n_in, n_out):
    return {"kernel": 0.02 * jax.random.normal(key, (n_in, n_out)), "bias": jnp.zeros(n_out)}


def block_init(key):
    k = jax.random.split(key, 4)
    return {
        "qkv": dense_init(k[0], WIDTH, 3 * WIDTH),
        "out": dense_init(k[1], WIDTH, WIDTH),
        "up": dense_init(k[2], WIDTH, 4 * WIDTH),
        "down": dense_init(k[3], 4 * WIDTH, WIDTH),
    }


def init(key):
    k_embed, k_position, k_head, *k_blocks = jax.random.split(key, 3 + BLOCKS)
    return {
        "embed": {"table": 0.02 * jax.random.normal(k_embed, (VOCAB, WIDTH))},
        "position": {"table": 0.02 * jax.random.normal(k_position, (LENGTH, WIDTH))},
        "blocks": {f"block_{i}": block_init(k) for i, k in enumerate(k_blocks)},
        "head": dense_init(k_head, WIDTH, VOCAB),
    }


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def dropout(key, x):
    return jnp.where(jax.random.bernoulli(key, 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0.0)


def attention(p, x):
    q, k, v = jnp.split(dense(p["qkv"], x).reshape(*x.shape[:2], HEADS, -1), 3, axis=-1)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    causal = jnp.tril(jnp.ones((LENGTH, LENGTH), bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e9))
    return dense(p["out"], jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape))


def block(p, x, key):
    k_attention, k_mlp = jax.random.split(key)
    x = dropout(k_attention, attention(p, x))
    hidden = jax.nn.gelu(dense(p["up"], x))
    return dropout(k_mlp, dense(p["down"], hidden))


def loss_fn(params, tokens, key):
    x = params["embed"]["table"][tokens[:, :-1]] + params["position"]["table"]
    for i, k in enumerate(jax.random.split(key, BLOCKS)):
        x = block(params["blocks"][f"block_{i}"], x, k)
    logits = dense(params["head"], x)
    log_probs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probs, tokens[:, 1:, None], axis=-1).mean()


def batches():
    rng = np.random.default_rng(5)
    for _ in range(8):
        start, stride = rng.integers(0, VOCAB, (8, 1)), rng.integers(1, 4, (8, 1))
        yield ((start + stride * np.arange(LENGTH + 1)) % VOCAB).astype(np.int32)

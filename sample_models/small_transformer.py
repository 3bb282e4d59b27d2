"""A causal pre-norm transformer with dropout, as people write them by hand. Healthy.

The residual stream carries δ unchanged past every block, the attention mask and the dropout mask are
meant, and most rows of the embedding table are unused by one batch: nothing here is to be reported.
"""

import jax
import jax.numpy as jnp
import numpy as np

VOCAB, LENGTH, WIDTH, HEADS, BLOCKS = 32, 16, 32, 4, 4
DROPOUT = 0.1


def dense_init(key, n_in, n_out):
    return {"kernel": 0.02 * jax.random.normal(key, (n_in, n_out)), "bias": jnp.zeros(n_out)}


def norm_init():
    return {"scale": jnp.ones(WIDTH), "bias": jnp.zeros(WIDTH)}


def block_init(key):
    k = jax.random.split(key, 4)
    return {
        "norm_attention": norm_init(),
        "qkv": dense_init(k[0], WIDTH, 3 * WIDTH),
        "out": dense_init(k[1], WIDTH, WIDTH),
        "norm_mlp": norm_init(),
        "up": dense_init(k[2], WIDTH, 4 * WIDTH),
        "down": dense_init(k[3], 4 * WIDTH, WIDTH),
    }


def init(key):
    k_embed, k_position, k_head, *k_blocks = jax.random.split(key, 3 + BLOCKS)
    return {
        "embed": {"table": 0.02 * jax.random.normal(k_embed, (VOCAB, WIDTH))},
        "position": {"table": 0.02 * jax.random.normal(k_position, (LENGTH, WIDTH))},
        "blocks": {f"block_{i}": block_init(k) for i, k in enumerate(k_blocks)},
        "norm": norm_init(),
        "head": dense_init(k_head, WIDTH, VOCAB),
    }


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def layer_norm(p, x):
    x = x - x.mean(-1, keepdims=True)
    return p["scale"] * x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5) + p["bias"]


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
    x = x + dropout(k_attention, attention(p, layer_norm(p["norm_attention"], x)))
    hidden = jax.nn.gelu(dense(p["up"], layer_norm(p["norm_mlp"], x)))
    return x + dropout(k_mlp, dense(p["down"], hidden))


def loss_fn(params, tokens, key):
    x = params["embed"]["table"][tokens[:, :-1]] + params["position"]["table"]
    for i, k in enumerate(jax.random.split(key, BLOCKS)):
        x = block(params["blocks"][f"block_{i}"], x, k)
    logits = dense(params["head"], layer_norm(params["norm"], x))
    log_probs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probs, tokens[:, 1:, None], axis=-1).mean()


def batches():
    rng = np.random.default_rng(5)
    for _ in range(8):
        start, stride = rng.integers(0, VOCAB, (8, 1)), rng.integers(1, 4, (8, 1))
        yield ((start + stride * np.arange(LENGTH + 1)) % VOCAB).astype(np.int32)

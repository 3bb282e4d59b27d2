"""A small GPT as it is initialized: pre-norm blocks, scaled output projections, tied embeddings, AdamW with
a warm-up."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

D, LENGTH, DEPTH = 48, 16, 4
draw = nn.initializers.normal(0.02)
draw_out = nn.initializers.normal(0.02 / (2 * DEPTH) ** 0.5)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, mask):
        h = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(4, kernel_init=draw, out_kernel_init=draw_out)(
            h, h, mask=mask
        )
        h = nn.gelu(nn.Dense(4 * D, kernel_init=draw)(nn.LayerNorm()(x)))
        return x + nn.Dense(D, kernel_init=draw_out)(h)


class GPT(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(12, D, embedding_init=draw)
        x = embed(tokens) + nn.Embed(LENGTH, D, embedding_init=draw)(jnp.arange(LENGTH))
        for _ in range(DEPTH):
            x = Block()(x, nn.make_causal_mask(tokens))
        return embed.attend(nn.LayerNorm()(x))


model = GPT()


def loss_fn(params, batch):
    logits = model.apply(params, batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


rng = np.random.default_rng(0)
follows = rng.integers(0, 12, (12, 2))
tokens = np.zeros((64, 17), np.int32)
tokens[:, 0] = rng.integers(0, 12, 64)
for t in range(16):
    tokens[:, t + 1] = follows[tokens[:, t], (rng.random(64) < 0.1).astype(int)]
batch = tokens
params = model.init(jax.random.PRNGKey(0), tokens[:, :-1])
schedule = optax.warmup_cosine_decay_schedule(0, 3e-3, 100, 2000)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.95, weight_decay=0.1))

EXPECTED = {"fault": None, "like": "missing residual connection"}

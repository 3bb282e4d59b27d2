"""Sinusoidal positions are added."""

import flax.linen as nn
import jax
import numpy as np
import optax

D, LENGTH = 32, 12
angles = np.arange(LENGTH)[:, None] / 100 ** (np.arange(0, D, 2) / D)
POSITIONS = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(6, D)(tokens) + POSITIONS
        for _ in range(2):
            h = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(num_heads=4)(h, h)
            x = x + nn.Dense(D)(nn.gelu(nn.Dense(2 * D)(nn.LayerNorm()(x))))
        return nn.Dense(1)(nn.LayerNorm()(x).mean(axis=1))[:, 0]


model = Encoder()


def loss_fn(params, batch):
    tokens, first = batch
    return optax.sigmoid_binary_cross_entropy(model.apply(params, tokens), first).mean()


rng = np.random.default_rng(0)
tokens = rng.integers(2, 6, (1024, LENGTH))
places = np.array([rng.choice(LENGTH, 2, replace=False) for _ in range(1024)])
tokens[np.arange(1024), places[:, 0]] = 0
tokens[np.arange(1024), places[:, 1]] = 1
first = (places[:, 0] < places[:, 1]).astype(np.float32)
batches = [(tokens[i : i + 128], first[i : i + 128]) for i in range(0, 1024, 128)]
params = model.init(jax.random.PRNGKey(0), tokens)
optimizer = optax.adam(2e-3)

EXPECTED = {"fault": None, "like": "missing positions"}

"""Eight attention blocks without residual connections: all tokens become one.

Source: Jahan et al. 2025 (attention faults), residual connection; Dong et al. 2021, rank collapse."""

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

D = 32


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm1 = nnx.LayerNorm(D, rngs=rngs)
        self.norm2 = nnx.LayerNorm(D, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, D, decode=False, rngs=rngs)
        self.up = nnx.Linear(D, 2 * D, rngs=rngs)
        self.down = nnx.Linear(2 * D, D, rngs=rngs)

    def __call__(self, x):
        x = self.attention(self.norm1(x))
        return self.down(nnx.gelu(self.up(self.norm2(x))))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.tokens = nnx.Embed(10, D, rngs=rngs)
        self.positions = nnx.Embed(12, D, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(8)])
        self.out = nnx.Linear(D, 10, rngs=rngs)

    def __call__(self, tokens):
        x = self.tokens(tokens) + self.positions(jnp.arange(12))
        for block in self.blocks:
            x = block(x)
        return self.out(x)


model = Net(nnx.Rngs(0))


def loss_fn(model, batch):
    return optax.softmax_cross_entropy_with_integer_labels(model(batch), (batch + 1) % 10).mean()


rng = np.random.default_rng(0)
batch = rng.integers(0, 10, (64, 12))
optimizer = optax.adam(1e-3)

EXPECTED = {
    "fault": "missing residual connection",
    "source": "Jahan et al. 2025 (attention faults), residual connection; Dong et al. 2021, rank collapse",
    "cause": ["missing-residual", "collapsed-representations", "vanishing-gradient"],
    "symptom": ["loss-not-decreasing", "plateau", "learning-rate-too-low"],
    "layer": [],
    "line": "",
    "twin": "residual_transformer",
}

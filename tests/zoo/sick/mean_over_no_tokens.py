"""A masked mean divides by the number of tokens, which is zero for an empty text.

Source: Humbatova et al. 2020; TheDeepChecker, division by zero."""

import numpy as np
import optax
from flax import nnx


class Bag(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(50, 16, rngs=rngs)
        self.out = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, tokens, mask):
        total = (self.embed(tokens) * mask[..., None]).sum(axis=1)
        mean = total / mask.sum(axis=1, keepdims=True)
        return self.out(mean)[:, 0]


model = Bag(nnx.Rngs(0))


def loss_fn(model, batch):
    tokens, mask, label = batch
    return optax.sigmoid_binary_cross_entropy(model(tokens, mask), label).mean()


rng = np.random.default_rng(0)
tokens = rng.integers(0, 50, (128, 12))
lengths = rng.integers(3, 13, 128)
lengths[7] = 0
mask = (np.arange(12) < lengths[:, None]).astype(np.float32)
label = ((tokens < 25) * mask).sum(axis=1) > lengths / 2
batch = tokens, mask, label.astype(np.float32)
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "numerical instability",
    "source": "Humbatova et al. 2020; TheDeepChecker, division by zero",
    "cause": ["non-finite"],
    "symptom": ["unstable-expression", "non-finite-update"],
    "layer": [],
    "line": "mask",
    "twin": "mean_over_some_tokens",
}

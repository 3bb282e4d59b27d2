"""Thirty residual blocks whose branches add as much as they get, and no normalization anywhere.

Source: TheDeepChecker (Ben Braiek & Khomh 2023), unstable activations; Humbatova et al. 2020, missing
normalisation layer."""

import equinox as eqx
import jax
import numpy as np
import optax


class Block(eqx.Module):
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, key):
        k1, k2 = jax.random.split(key)
        self.up = eqx.nn.Linear(32, 128, key=k1)
        self.down = eqx.nn.Linear(128, 32, key=k2)
        self.down = eqx.tree_at(
            lambda d: d.weight, self.down, jax.random.normal(k2, (32, 128)) * (4 / 128) ** 0.5
        )

    def __call__(self, x):
        return x + self.down(jax.nn.gelu(self.up(4 * x)))


class Net(eqx.Module):
    embed: eqx.nn.Linear
    blocks: list
    head: eqx.nn.Linear

    def __init__(self, key):
        k1, k2, *keys = jax.random.split(key, 32)
        self.embed = eqx.nn.Linear(16, 32, key=k1)
        self.blocks = [Block(k) for k in keys]
        self.head = eqx.nn.Linear(32, 3, key=k2)

    def __call__(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def loss_fn(model, batch):
    x, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), labels).mean()


model = Net(jax.random.PRNGKey(0))
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(1e-3)

EXPECTED = {
    "fault": "missing normalization",
    "source": "TheDeepChecker (Ben Braiek & Khomh 2023), unstable activations; Humbatova et al. 2020, missing normalisation layer",
    "cause": ["exploding-gradient"],
    "symptom": ["learning-rate-too-high", "diverging-loss", "non-finite", "loss-spike", "oscillating-loss"],
    "layer": ["blocks", "embed"],
    "line": "",
    "twin": "residual_with_norm",
}

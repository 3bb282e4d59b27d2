"""The same blocks with a layer norm at the start of each branch."""

import equinox as eqx
import jax
import numpy as np
import optax


class Block(eqx.Module):
    norm: eqx.nn.LayerNorm
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, key):
        k1, k2 = jax.random.split(key)
        self.norm = eqx.nn.LayerNorm(32)
        self.up = eqx.nn.Linear(32, 128, key=k1)
        self.down = eqx.nn.Linear(128, 32, key=k2)
        self.down = eqx.tree_at(
            lambda d: d.weight, self.down, jax.random.normal(k2, (32, 128)) * (4 / 128) ** 0.5
        )

    def __call__(self, x):
        return x + self.down(jax.nn.gelu(self.up(self.norm(x))))


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

EXPECTED = {"fault": None, "like": "missing normalization"}

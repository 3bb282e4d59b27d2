"""A deep network with a classifier after every block, whose losses are added up."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


class Net(eqx.Module):
    blocks: list
    exits: list

    def __init__(self, key):
        keys = jax.random.split(key, 12)
        self.blocks = [eqx.nn.Linear(16 if i == 0 else 48, 48, key=k) for i, k in enumerate(keys[:6])]
        self.exits = [eqx.nn.Linear(48, 3, key=k) for k in keys[6:]]

    def __call__(self, x):
        outs = []
        for block, leave in zip(self.blocks, self.exits):
            x = jax.nn.relu(block(x))
            outs.append(leave(x))
        return jnp.stack(outs)


model = Net(jax.random.PRNGKey(0))


def loss_fn(model, batch):
    x, labels = batch
    logits = jax.vmap(model)(x)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[:, None])
    return losses.mean(axis=0).sum()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "unbalanced loss terms"}

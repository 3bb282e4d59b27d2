"""Dropout of 0.5 on two wide layers, in Equinox with keys."""

import equinox as eqx
import jax
import numpy as np
import optax


class Net(eqx.Module):
    layers: list
    dropout: eqx.nn.Dropout

    def __init__(self, key):
        k1, k2, k3 = jax.random.split(key, 3)
        self.layers = [
            eqx.nn.Linear(16, 128, key=k1),
            eqx.nn.Linear(128, 128, key=k2),
            eqx.nn.Linear(128, 3, key=k3),
        ]
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, key):
        for layer in self.layers[:-1]:
            key, sub = jax.random.split(key)
            x = self.dropout(jax.nn.relu(layer(x)), key=sub)
        return self.layers[-1](x)


model = Net(jax.random.PRNGKey(0))


def loss_fn(model, batch, key):
    x, labels = batch
    logits = jax.vmap(model)(x, jax.random.split(key, len(x)))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "wrong dropout"}

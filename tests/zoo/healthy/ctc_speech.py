"""A bidirectional GRU with a CTC loss, padded labels and logits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


class Net(eqx.Module):
    forward: eqx.nn.GRUCell
    backward: eqx.nn.GRUCell
    out: eqx.nn.Linear

    def __init__(self, key):
        k1, k2, k3 = jax.random.split(key, 3)
        self.forward = eqx.nn.GRUCell(6, 24, key=k1)
        self.backward = eqx.nn.GRUCell(6, 24, key=k2)
        self.out = eqx.nn.Linear(48, 6, key=k3)

    def __call__(self, xs):
        def run(cell, xs, reverse):
            def step(h, x):
                h = cell(x, h)
                return h, h

            return jax.lax.scan(step, jnp.zeros(24), xs, reverse=reverse)[1]

        both = jnp.concatenate([run(self.forward, xs, False), run(self.backward, xs, True)], axis=1)
        return jax.vmap(self.out)(both)


model = Net(jax.random.PRNGKey(0))


def loss_fn(model, batch):
    xs, padding, labels, label_padding = batch
    return optax.ctc_loss(jax.vmap(model)(xs), padding, labels, label_padding).mean()


rng = np.random.default_rng(0)
labels = rng.integers(1, 6, (64, 5))
lengths = rng.integers(3, 6, 64)
label_padding = (np.arange(5) >= lengths[:, None]).astype(np.float32)
xs = 0.3 * rng.normal(size=(64, 20, 6))
for row, label in enumerate(labels):
    for place in range(lengths[row]):
        xs[row, 4 * place : 4 * place + 2, label[place]] += 2
padding = (np.arange(20) >= 4 * lengths[:, None]).astype(np.float32)
batch = xs.astype(np.float32), padding, labels, label_padding
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "numerical instability"}

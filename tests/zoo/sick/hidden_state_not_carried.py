"""Each step of the LSTM starts from the zero state again, so only the last input counts.

Source: Humbatova et al. 2020, wrong network architecture; Stack Overflow, hidden state of an RNN not
passed on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


class Net(eqx.Module):
    cell: eqx.nn.LSTMCell
    out: eqx.nn.Linear

    def __init__(self, key):
        k1, k2 = jax.random.split(key)
        self.cell = eqx.nn.LSTMCell(1, 32, key=k1)
        self.out = eqx.nn.Linear(32, 1, key=k2)

    def __call__(self, xs):
        start = (jnp.zeros(32), jnp.zeros(32))

        def step(state, x):
            return self.cell(x, start), None

        (h, _), _ = jax.lax.scan(step, start, xs)
        return self.out(h)[0]


model = Net(jax.random.PRNGKey(0))


def loss_fn(model, batch):
    xs, y = batch
    return jnp.mean((jax.vmap(model)(xs) - y) ** 2)


rng = np.random.default_rng(0)
xs = rng.normal(size=(128, 12, 1)).astype(np.float32)
batch = xs, xs[:, :, 0].mean(axis=1) * 3
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "wrong recurrence",
    "source": "Humbatova et al. 2020, wrong network architecture; Stack Overflow, hidden state of an RNN not passed on",
    "cause": ["state-not-carried"],
    "symptom": ["loss-not-decreasing", "zero-gradient", "disconnected-parameter", "plateau"],
    "layer": [],
    "line": "",
    "twin": "hidden_state_carried",
}

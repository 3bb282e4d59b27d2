"""An LSTM under a rate with warm restarts: its loss jumps at each of them, and it learns."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


def unroll(x):
    core = hk.LSTM(32)
    out, _ = hk.dynamic_unroll(core, x, core.initial_state(x.shape[1]))
    return hk.BatchApply(hk.Linear(1))(out)[..., 0]


model = hk.without_apply_rng(hk.transform(unroll))


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((model.apply(params, x) - y) ** 2)


# (time, batch, features): an exponential average with a reset
rng = np.random.default_rng(0)
T, B = 20, 64
x = np.stack([rng.normal(size=(T, 4 * B)), rng.random((T, 4 * B)) < 0.1], axis=-1).astype(np.float32)
y, memory = np.zeros((T, 4 * B), np.float32), np.zeros(4 * B)
for t in range(T):
    memory = np.where(x[t, :, 1] > 0, 0.0, 0.8 * memory + x[t, :, 0])
    y[t] = memory
batches = [(x[:, i : i + B], y[:, i : i + B]) for i in range(0, 4 * B, B)]
params = model.init(jax.random.PRNGKey(0), x[:, :B])

cycles = [dict(init_value=0.0, peak_value=3e-2, warmup_steps=5, decay_steps=50, end_value=1e-4)] * 8
schedule = optax.sgdr_schedule(cycles)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

EXPECTED = {"fault": None, "like": "learning rate too high"}

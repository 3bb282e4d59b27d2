"""The two decay rates of Adam are swapped.

Source: Humbatova et al. 2020, wrong optimisation function, suboptimal hyperparameters; Reddi et al. 2018 on Adam without convergence."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

WINDOW, HORIZON = 32, 4
LEARNING_RATE = 3e-3


def forecaster(history):
    x = history[:, :, None]
    for _ in range(2):
        x = jax.nn.gelu(hk.Conv1D(16, kernel_shape=5, stride=2)(x))
    x = hk.Flatten()(x)
    x = jax.nn.gelu(hk.Linear(32)(x))
    # What is forecast is the difference to the last value.
    return history[:, -1:] + hk.Linear(HORIZON)(x)


net = hk.without_apply_rng(hk.transform(forecaster))


def loss_fn(params, batch):
    history, future = batch
    return jnp.mean(jnp.abs(net.apply(params, history) - future))


def windows(series):
    starts = range(len(series) - WINDOW - HORIZON)
    history = np.stack([series[i : i + WINDOW] for i in starts])
    future = np.stack([series[i + WINDOW : i + WINDOW + HORIZON] for i in starts])
    order = np.random.default_rng(0).permutation(len(history))
    return history[order].astype(np.float32), future[order].astype(np.float32)


t = np.arange(1100)
series = (
    np.sin(2 * np.pi * t / 17)
    + 0.6 * np.sin(2 * np.pi * t / 5.5 + 1)
    + 0.05 * np.random.default_rng(2).normal(size=1100)
)
x, y = windows((series - series.mean()) / series.std())
batches = [(x[i : i + 128], y[i : i + 128]) for i in range(0, 1024, 128)]
params = net.init(jax.random.PRNGKey(42), x[:1])
optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.scale_by_adam(b1=0.999, b2=0.9),
    optax.scale(-LEARNING_RATE),
)

EXPECTED = {
    "fault": "wrong optimizer",
    "source": "Humbatova et al. 2020, wrong optimisation function, suboptimal hyperparameters; Reddi et al. 2018 on Adam without convergence",
    "cause": ["mismatched-betas"],
    "symptom": [
        "oscillating-loss",
        "diverging-loss",
        "learning-rate-too-high",
        "loss-not-decreasing",
        "loss-spike",
        "lost-gradient",
        "plateau",
    ],
    "layer": [],
    "line": "",
    "twin": "forecaster_with_a_chain_by_hand",
}

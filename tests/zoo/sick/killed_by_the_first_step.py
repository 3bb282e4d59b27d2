"""One step of SGD at a rate of 5 throws all ReLUs into the flat part, from where nothing brings them back.

Source: AUTOTRAINER (Zhang et al. 2021), dying ReLU; Lu et al. 2019."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [13, 64, 64, 1]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((predict(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 13)).astype(np.float32)
y = (3 + x[:, :1] - 2 * np.abs(x[:, 1:2])).astype(np.float32)
batches = [(x[i : i + 64], y[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.sgd(5.0)

EXPECTED = {
    "fault": "dying ReLU",
    "source": "AUTOTRAINER (Zhang et al. 2021), dying ReLU; Lu et al. 2019",
    "cause": ["learning-rate-too-high", "lost-gradient", "zero-gradient"],
    "symptom": ["diverging-loss", "loss-spike", "loss-not-decreasing", "oscillating-loss"],
    "layer": [],
    "line": "",
    "twin": "alive_after_the_first_step",
}

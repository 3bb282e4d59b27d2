"""Adam was replaced by SGD, and its rate of 1e-4 stayed.

Source: DeepFD (Cao et al. 2022), wrong optimizer; Humbatova et al. 2020, wrong optimisation function."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


def loss_fn(model, batch):
    x, y = batch
    return jnp.mean((jax.vmap(model)(x)[:, 0] - y) ** 2)


model = eqx.nn.MLP(4, 1, 64, 2, activation=jax.nn.tanh, key=jax.random.PRNGKey(0))
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, size=(256, 4)).astype(np.float32)
y = (np.sin(3 * x[:, 0]) * x[:, 1] + x[:, 2] ** 2).astype(np.float32)
data = x, y
optimizer = optax.sgd(1e-4)

EXPECTED = {
    "fault": "learning rate too low",
    "source": "DeepFD (Cao et al. 2022), wrong optimizer; Humbatova et al. 2020, wrong optimisation function",
    "cause": ["learning-rate-too-low"],
    "symptom": ["loss-not-decreasing"],
    "layer": [],
    "line": "",
    "twin": "adam_with_its_rate",
}

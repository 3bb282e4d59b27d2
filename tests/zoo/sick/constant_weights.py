"""Every weight starts at 0.1: all units of a layer are one.

Source: TheDeepChecker (Ben Braiek & Khomh 2023), unbreaking symmetry; Humbatova et al. 2020, wrong
weights initialisation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        start = nn.initializers.constant(0.1)
        x = nn.tanh(nn.Dense(32, kernel_init=start)(x))
        x = nn.tanh(nn.Dense(32, kernel_init=start)(x))
        return nn.Dense(1, kernel_init=start)(x)[:, 0]


model = Net()


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((model.apply(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 4)).astype(np.float32)
y = (np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]).astype(np.float32)
batch = x, y
params = model.init(jax.random.PRNGKey(0), x)
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "symmetric weights",
    "source": "TheDeepChecker (Ben Braiek & Khomh 2023), unbreaking symmetry; Humbatova et al. 2020, wrong weights initialisation",
    "cause": ["symmetric-units"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": ["Dense_0", "Dense_1"],
    "line": "",
    "twin": "random_weights",
}

"""Adam at 1e-3."""

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
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "learning rate too low"}

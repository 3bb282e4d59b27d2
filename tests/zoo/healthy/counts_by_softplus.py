"""A softplus at the end, for targets that are never negative, some of them zero."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


def forward(x):
    h = jax.nn.relu(hk.Linear(64)(x))
    return jax.nn.softplus(hk.Linear(1)(h))[:, 0]


net = hk.without_apply_rng(hk.transform(forward))


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((net.apply(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(400, 5)).astype(np.float32)
y = np.maximum(2 * x[:, 0] + x[:, 1] ** 2 - 1, 0).astype(np.float32)
data = x, y
params = net.init(jax.random.PRNGKey(0), x)
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "wrong activation of the output"}

"""The layers have biases."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


def forward(x):
    x = jnp.tanh(hk.Linear(32, with_bias=True)(x))
    return hk.Linear(1, with_bias=True)(x)[:, 0]


net = hk.without_apply_rng(hk.transform(forward))


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((net.apply(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 3)).astype(np.float32)
y = (3 + np.sin(x[:, 0])).astype(np.float32)
batch = x, y
params = net.init(jax.random.PRNGKey(0), x)
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "missing bias"}

"""A linear autoencoder with a bottleneck of two, which is a principal component analysis."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


def forward(x):
    code = hk.Linear(2, name="encoder")(x)
    return hk.Linear(10, name="decoder")(code)


net = hk.without_apply_rng(hk.transform(forward))


def loss_fn(params, batch):
    return jnp.mean((net.apply(params, batch) - batch) ** 2)


rng = np.random.default_rng(0)
batch = (rng.normal(size=(256, 2)) @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(256, 10))).astype(
    np.float32
)
params = net.init(jax.random.PRNGKey(0), batch)
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "missing activation"}

"""The marginal likelihood of a Gaussian process, by a Cholesky factor and with jitter."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

params = {"log_length": jnp.array(0.5), "log_scale": jnp.array(0.0), "log_noise": jnp.array(0.0)}


def loss_fn(params, batch):
    x, y = batch
    squares = jnp.sum((x[:, None] - x) ** 2, axis=-1)
    kernel = jnp.exp(2 * params["log_scale"] - squares / (2 * jnp.exp(2 * params["log_length"])))
    kernel = kernel + (jnp.exp(2 * params["log_noise"]) + 1e-4) * jnp.eye(len(x))
    factor = jnp.linalg.cholesky(kernel)
    white = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
    return 0.5 * jnp.sum(white**2) + jnp.sum(jnp.log(jnp.diagonal(factor)))


rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-4, 4, size=(60, 1)), axis=0).astype(np.float32)
batch = x, (np.sin(2 * x[:, 0]) + 0.1 * rng.normal(size=60)).astype(np.float32)
optimizer = optax.adam(2e-2)

EXPECTED = {"fault": None, "like": "numerical instability"}

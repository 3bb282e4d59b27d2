"""The kernel matrix of a dense grid is singular in float32, and its Cholesky factor NaN.

Source: GitHub, JAX and GPyTorch issues on Cholesky factors that are NaN without a jitter; TheDeepChecker, numerical instability."""

import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.linalg import cho_solve


def kernel(params, a, b):
    scaled = (a[:, None] - b[None, :]) / jnp.exp(params["log_lengthscale"])
    return jnp.exp(2 * params["log_amplitude"]) * jnp.exp(-0.5 * scaled**2)


def loss_fn(params, x, y):
    """Negative log marginal likelihood per point, of a smooth function that is seen without noise."""
    n = x.shape[0]
    K = kernel(params, x, x)
    L = jnp.linalg.cholesky(K)
    residual = y - params["mean"]
    alpha = cho_solve((L, True), residual)
    return (0.5 * residual @ alpha + jnp.sum(jnp.log(jnp.diag(L))) + 0.5 * n * jnp.log(2 * jnp.pi)) / n


params = {"log_lengthscale": jnp.array(-2.5), "log_amplitude": jnp.array(1.0), "mean": jnp.array(0.0)}
x = np.linspace(0, 1, 80).astype(np.float32)
y = (1.0 + np.sin(6 * x) + 0.3 * np.cos(11 * x)).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "numerical instability",
    "source": "GitHub, JAX and GPyTorch issues on Cholesky factors that are NaN without a jitter; TheDeepChecker, numerical instability",
    "cause": ["non-finite"],
    "symptom": ["unstable-expression", "non-finite-update"],
    "layer": [],
    "line": "cholesky",
    "twin": "gaussian_process_with_jitter",
}

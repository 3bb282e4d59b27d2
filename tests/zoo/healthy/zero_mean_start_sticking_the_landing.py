"""Variational inference in float64: the density of the posterior is detached from its params (sticking
the landing), and the loss falls below zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)
SAMPLES = 16


def init(key):
    return {"mu": jnp.zeros(3), "log_sigma": jnp.full(3, -1.0), "log_noise": jnp.zeros(())}


def log_normal(x, mu, log_sigma):
    return -0.5 * ((x - mu) / jnp.exp(log_sigma)) ** 2 - log_sigma - 0.5 * jnp.log(2 * jnp.pi)


def loss_fn(params, batch, rng_key):
    """The negative ELBO per row, of a Bayesian linear regression whose noise is learned as well."""
    X, y = batch
    eps = jax.random.normal(rng_key, (SAMPLES, 3))
    w = params["mu"] + jnp.exp(params["log_sigma"]) * eps
    detached = jax.lax.stop_gradient(params)
    log_q = log_normal(w, detached["mu"], detached["log_sigma"]).sum(axis=-1)
    log_prior = log_normal(w, 0.0, jnp.log(3.0)).sum(axis=-1)
    log_lik = log_normal(y, w @ X.T, params["log_noise"]).sum(axis=-1)
    return jnp.mean(log_q - log_prior - log_lik) / len(y)


rng = np.random.default_rng(0)
X = np.column_stack([np.ones(200), rng.normal(size=(200, 2))])
y = X @ np.array([0.5, 2.0, -1.0]) + 0.1 * rng.normal(size=200)
batch = X, y
optimizer = optax.adam(3e-2)

EXPECTED = {"fault": None, "like": "loss without a gradient"}

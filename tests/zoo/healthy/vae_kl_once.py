"""Its weight is 1."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    ks = jax.random.split(key, 4)
    he = jax.nn.initializers.he_normal()
    return {
        "enc": {"w": he(ks[0], (20, 64)), "b": jnp.zeros(64)},
        "code": {"w": he(ks[1], (64, 8)), "b": jnp.zeros(8)},
        "dec": {"w": he(ks[2], (4, 64)), "b": jnp.zeros(64)},
        "out": {"w": he(ks[3], (64, 20)), "b": jnp.zeros(20)},
    }


def dense(layer, x):
    return x @ layer["w"] + layer["b"]


def loss_fn(params, batch, key):
    mean, log_var = jnp.split(dense(params["code"], jax.nn.relu(dense(params["enc"], batch))), 2, axis=1)
    z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
    again = dense(params["out"], jax.nn.relu(dense(params["dec"], z)))
    reconstruction = jnp.sum((again - batch) ** 2, axis=1) / 2
    kl = jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var, axis=1) / 2
    return jnp.mean(reconstruction + kl)


def metric(params):
    mean = dense(params["code"], jax.nn.relu(dense(params["enc"], batch)))[:, :4]
    return jnp.mean((dense(params["out"], jax.nn.relu(dense(params["dec"], mean))) - batch) ** 2)


rng = np.random.default_rng(0)
batch = (rng.normal(size=(256, 3)) @ rng.normal(size=(3, 20))).astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "unbalanced loss terms"}

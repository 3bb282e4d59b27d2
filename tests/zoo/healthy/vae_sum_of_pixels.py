"""Both are summed over their own axis."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax


class VAE(nn.Module):
    @nn.compact
    def __call__(self, x, key):
        h = nn.relu(nn.Dense(64)(x))
        mean, log_var = nn.Dense(8)(h), nn.Dense(8)(h)
        z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
        return nn.Dense(784)(nn.relu(nn.Dense(64)(z))), mean, log_var


model = VAE()


def loss_fn(params, batch, key):
    again, mean, log_var = model.apply(params, batch, key)
    squares = jnp.mean(jnp.sum((again - batch) ** 2, axis=-1))
    kl = jnp.mean(0.5 * jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var, axis=-1))
    return squares + kl


def metric(params):
    return jnp.mean((model.apply(params, batch, jax.random.PRNGKey(1))[0] - batch) ** 2)


rng = np.random.default_rng(0)
batch = (rng.normal(size=(128, 3)) @ rng.normal(size=(3, 784)) / 3).astype(np.float32)
params = model.init(jax.random.PRNGKey(0), batch, jax.random.PRNGKey(0))
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "unbalanced loss terms"}

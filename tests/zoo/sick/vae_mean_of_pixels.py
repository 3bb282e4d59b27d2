"""The reconstruction of a VAE is averaged over 784 values, and its KL is summed.

Source: Stack Overflow and GitHub, VAE with a mean squared error beside a summed KL; Humbatova et al.
2020."""

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
    squares = jnp.mean((again - batch) ** 2)
    kl = jnp.mean(0.5 * jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var, axis=-1))
    return squares + kl


def metric(params):
    return jnp.mean((model.apply(params, batch, jax.random.PRNGKey(1))[0] - batch) ** 2)


rng = np.random.default_rng(0)
batch = (rng.normal(size=(128, 3)) @ rng.normal(size=(3, 784)) / 3).astype(np.float32)
params = model.init(jax.random.PRNGKey(0), batch, jax.random.PRNGKey(0))
optimizer = optax.adam(1e-3)

EXPECTED = {
    "fault": "unbalanced loss terms",
    "source": "Stack Overflow and GitHub, VAE with a mean squared error beside a summed KL; Humbatova et al. 2020",
    "cause": ["unbalanced-loss-terms"],
    "symptom": ["collapsed-representations", "loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "",
    "twin": "vae_sum_of_pixels",
}

"""A key is made within the loss, of a constant: each step has the same noise at the same times.

Source: JAX documentation and discussions on reused PRNG keys within jit; TrainCheck (Jiang et al. 2025), random states."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

DIM = 24


class Denoiser(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        freqs = 2.0 ** jnp.arange(6)
        h = jnp.concatenate([x, jnp.sin(t[:, None] * freqs), jnp.cos(t[:, None] * freqs)], axis=-1)
        h = nn.swish(nn.Dense(128)(h))
        h = h + nn.swish(nn.Dense(128)(h))
        return nn.Dense(DIM)(h)


model = Denoiser()


def loss_fn(params, x0):
    """DDPM, v-free: predicts the noise."""
    key = jax.random.PRNGKey(0)
    key_t, key_noise = jax.random.split(key)
    t = jax.random.uniform(key_t, (x0.shape[0],))
    noise = jax.random.normal(key_noise, x0.shape)
    a, s = jnp.cos(0.5 * jnp.pi * t)[:, None], jnp.sin(0.5 * jnp.pi * t)[:, None]
    predicted = model.apply(params, a * x0 + s * noise, t)
    return jnp.mean((predicted - noise) ** 2)


def metric(params):
    """The loss on noise that was not seen."""
    keys = jax.random.split(jax.random.PRNGKey(999), 8)
    return jnp.mean(jnp.stack([denoising_error(params, data, k) for k in keys]))


def denoising_error(params, x0, key):
    key_t, key_noise = jax.random.split(key)
    t = jax.random.uniform(key_t, (x0.shape[0],))
    noise = jax.random.normal(key_noise, x0.shape)
    a, s = jnp.cos(0.5 * jnp.pi * t)[:, None], jnp.sin(0.5 * jnp.pi * t)[:, None]
    return jnp.mean((model.apply(params, a * x0 + s * noise, t) - noise) ** 2)


rng = np.random.default_rng(0)
angle = rng.uniform(0, 2 * np.pi, 192)
curve = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(3 * angle)], axis=1)
data = (curve @ rng.normal(size=(4, DIM))).astype(np.float32)
data = (data - data.mean()) / data.std()
batch = data
params = model.init(jax.random.PRNGKey(0), data[:2], jnp.zeros(2))
optimizer = optax.adam(2e-3)

EXPECTED = {
    "fault": "missing randomness",
    "source": "JAX documentation and discussions on reused PRNG keys within jit; TrainCheck (Jiang et al. 2025), random states",
    "cause": ["repeated-noise"],
    "symptom": [],
    "layer": [],
    "line": "PRNGKey",
    "twin": "denoiser_with_new_noise_each_step",
}

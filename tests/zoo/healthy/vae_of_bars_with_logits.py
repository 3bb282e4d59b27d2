"""A VAE of binary images whose decoder gives logits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

LATENT = 6


class VAE(eqx.Module):
    encoder: eqx.nn.MLP
    decoder: eqx.nn.MLP

    def __init__(self, key):
        enc_key, dec_key = jax.random.split(key)
        self.encoder = eqx.nn.MLP(64, 2 * LATENT, 64, 1, activation=jax.nn.elu, key=enc_key)
        self.decoder = eqx.nn.MLP(LATENT, 64, 64, 1, activation=jax.nn.elu, key=dec_key)

    def __call__(self, x, key):
        mu, log_var = jnp.split(self.encoder(x), 2)
        z = mu + jnp.exp(0.5 * log_var) * jax.random.normal(key, mu.shape)
        return self.decoder(z), mu, log_var


def loss_fn(model, images, key):
    keys = jax.random.split(key, len(images))
    recon, mu, log_var = jax.vmap(model)(images, keys)
    bce = optax.sigmoid_binary_cross_entropy(recon, images).sum(axis=-1)
    kl = -0.5 * jnp.sum(1 + log_var - mu**2 - jnp.exp(log_var), axis=-1)
    return jnp.mean(bce + kl)


def bars(rng, n):
    """8x8 images with one or two bars."""
    images = np.zeros((n, 8, 8), np.float32)
    rows, columns = rng.integers(0, 8, (2, n))
    images[np.arange(n), rows] = 1
    both = rng.random(n) < 0.5
    images[both, :, columns[both]] = 1
    return images.reshape(n, 64)


images = bars(np.random.default_rng(0), 1024)
batches = [images[i : i + 128] for i in range(0, 1024, 128)]
model = VAE(jax.random.PRNGKey(0))
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong activation of the output"}

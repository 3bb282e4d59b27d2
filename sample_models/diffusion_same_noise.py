"""A diffusion model of small pictures of rings (Flax NNX).

Sick: the key is made inside the loss from a constant, so that every step has the same times and the same
noise, which the network learns by heart. Remedy: a loss that takes a key, as in `diffusion_new_noise.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

SIDE, WIDTH, FREQUENCIES = 8, 128, 6


class Denoiser(nnx.Module):
    """Predicts the noise in a picture, given how much of it there is."""

    def __init__(self, rngs):
        self.enter = nnx.Linear(SIDE * SIDE + 2 * FREQUENCIES, WIDTH, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(2)])
        self.leave = nnx.Linear(WIDTH, SIDE * SIDE, rngs=rngs)

    def __call__(self, picture, time):
        angle = time[:, None] * 2.0 ** jnp.arange(FREQUENCIES)
        x = self.enter(jnp.concatenate([picture, jnp.sin(angle), jnp.cos(angle)], axis=1))
        for block in self.blocks:
            x = x + block(nnx.silu(x))
        return self.leave(nnx.silu(x))


def denoising_error(model, pictures, key):
    k_time, k_noise = jax.random.split(key)
    time = jax.random.uniform(k_time, (len(pictures),))
    noise = jax.random.normal(k_noise, pictures.shape)
    keep, add = jnp.cos(0.5 * jnp.pi * time)[:, None], jnp.sin(0.5 * jnp.pi * time)[:, None]
    return jnp.mean(jnp.square(model(keep * pictures + add * noise, time) - noise))


def loss_fn(model, pictures):
    return denoising_error(model, pictures, jax.random.key(0))


def rings(size=96):
    rng = np.random.default_rng(0)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    x, y = rng.uniform(2.5, 4.5, (2, size))
    radius = rng.uniform(1.5, 3.5, size)
    away = np.hypot(across - x[:, None, None], down - y[:, None, None])
    pictures = np.exp(-(((away - radius[:, None, None]) / 0.7) ** 2)).reshape(size, -1)
    return ((pictures - pictures.mean()) / pictures.std()).astype(np.float32)


model = Denoiser(nnx.Rngs(0))
batch = rings()
optimizer = optax.adam(1e-3)

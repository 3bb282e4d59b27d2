"""A denoiser that is told how much noise there is: its loss has a floor, and moves with what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [3, 64, 64, 2]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss_fn(params, batch, key):
    k1, k2 = jax.random.split(key)
    t = jax.random.uniform(k1, (len(batch), 1))
    noise = jax.random.normal(k2, batch.shape)
    noisy = jnp.sqrt(1 - t) * batch + jnp.sqrt(t) * noise
    noisy = jnp.concatenate([noisy, t], axis=1)
    return jnp.mean((predict(params, noisy) - noise) ** 2)


rng = np.random.default_rng(0)
angle = rng.uniform(0, 2 * np.pi, 512)
batch = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "learning rate too low"}

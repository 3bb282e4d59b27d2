"""A kernel loss compares all examples with all others on purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [4, 64, 2]


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


def kernel(a, b):
    squares = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
    return sum(jnp.exp(-squares / (2 * width**2)) for width in (0.5, 1.0, 2.0)).mean()


def loss_fn(params, batch):
    noise, data = batch
    made = predict(params, noise)
    return kernel(made, made) - 2 * kernel(made, data) + kernel(data, data)


rng = np.random.default_rng(0)
angle = rng.uniform(0, np.pi, 128)
data_points = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.1 * rng.normal(size=(128, 2))
batch = rng.normal(size=(128, 4)).astype(np.float32), data_points.astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong shape of the target"}

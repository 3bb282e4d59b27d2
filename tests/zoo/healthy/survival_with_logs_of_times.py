"""A Weibull survival model: logs and powers of times that are positive in the data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [5, 32, 2]


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


def loss_fn(params, batch):
    x, time, died = batch
    log_scale, raw = jnp.split(predict(params, x), 2, axis=1)
    shape = 0.1 + jax.nn.softplus(raw[:, 0])
    z = (time / jnp.exp(log_scale[:, 0])) ** shape
    log_hazard = jnp.log(shape) - jnp.log(time) + shape * (jnp.log(time) - log_scale[:, 0])
    return jnp.mean(z - died * log_hazard)


rng = np.random.default_rng(0)
x = rng.normal(size=(512, 5)).astype(np.float32)
time = (np.exp(0.7 * x[:, 0] + 1) * rng.weibull(2, 512)).clip(0.05, 10).astype(np.float32)
data = x, time, (time < 10).astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "numerical instability"}

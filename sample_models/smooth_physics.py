"""The same beam with a smooth activation: the healthy twin of `relu_physics.py`."""

import jax
import jax.numpy as jnp
import numpy as np

WIDTH = 32
activation = jnp.tanh


def init(key):
    k = jax.random.split(key, 3)
    return {
        "hidden": {"w": jax.random.normal(k[0], (1, WIDTH)), "b": jnp.zeros(WIDTH)},
        "inner": {"w": jax.random.normal(k[1], (WIDTH, WIDTH)) / WIDTH**0.5, "b": jnp.zeros(WIDTH)},
        "out": {"w": jax.random.normal(k[2], (WIDTH, 1)) / WIDTH**0.5, "b": jnp.zeros(1)},
    }


def linear(p, x):
    return x @ p["w"] + p["b"]


def height(params, x):
    h = activation(linear(params["hidden"], x[None]))
    h = activation(linear(params["inner"], h))
    return linear(params["out"], h)[0]


def loss_fn(params, x):
    bending = jax.vmap(jax.grad(jax.grad(height, 1), 1), (None, 0))(params, x)
    equation = jnp.mean((bending + jnp.sin(jnp.pi * x)) ** 2)
    ends = jax.vmap(height, (None, 0))(params, jnp.array([-1.0, 1.0]))
    return equation + jnp.mean(ends**2)


batch = np.linspace(-1.0, 1.0, 64, dtype=np.float32)

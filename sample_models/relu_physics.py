"""A physics-informed network for a beam, u'' = -sin(pi x), held at both ends.

Sick: the network is made of ReLUs, whose second derivative is zero. The equation's term gives no gradient to
anything, and what trains are the two ends. Remedy: a smooth activation, as in `smooth_physics.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np

WIDTH = 32
activation = jax.nn.relu


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

"""A physics-informed network of ReLUs: its second derivative is zero everywhere.

Source: Raissi et al. 2019 on smooth activations; DeepXDE questions on ReLU and second derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [1, 32, 32, 1]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    glorot = jax.nn.initializers.glorot_normal()
    return [
        {"w": glorot(k, (n, m)), "b": jnp.zeros(m)} for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def u(params, t):
    h = t[None]
    for layer in params[:-1]:
        h = jax.nn.relu(h @ layer["w"] + layer["b"])
    return (h @ params[-1]["w"] + params[-1]["b"])[0]


def loss_fn(params, batch):
    acceleration = jax.vmap(jax.grad(jax.grad(u, argnums=1), argnums=1), (None, 0))(params, batch)
    position = jax.vmap(u, (None, 0))(params, batch)
    start = u(params, jnp.array(0.0)) ** 2 + (jax.grad(u, argnums=1)(params, jnp.array(0.0)) - 2.0) ** 2
    return jnp.mean((acceleration + 4 * position) ** 2) + start


def metric(params):
    return jnp.mean((jax.vmap(u, (None, 0))(params, batch) - jnp.sin(2 * batch)) ** 2)


batch = np.linspace(0, 2, 64, dtype=np.float32)
optimizer = optax.adam(5e-3)

EXPECTED = {
    "fault": "physics loss without a gradient",
    "source": "Raissi et al. 2019 on smooth activations; DeepXDE questions on ReLU and second derivatives",
    "cause": ["dead-loss-term"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "acceleration",
    "twin": "pinn_with_tanh",
}

"""A random recurrent network is left as it is, and only what reads its states is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

UNITS = 100


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "reservoir": {
            "w": 0.8 * jax.random.normal(k1, (UNITS, UNITS)) / jnp.sqrt(UNITS),
            "u": jax.random.normal(k2, (1, UNITS)),
        },
        "readout": {"w": jnp.zeros((UNITS, 1)), "b": jnp.zeros(1)},
    }


def loss_fn(params, series):
    def step(state, value):
        state = jnp.tanh(state @ params["reservoir"]["w"] + value @ params["reservoir"]["u"])
        return state, state

    values = jnp.swapaxes(series, 0, 1)
    _, states = jax.lax.scan(step, jnp.zeros((len(series), UNITS)), values)
    states = jax.lax.stop_gradient(states)
    said = states[2:] @ params["readout"]["w"] + params["readout"]["b"]
    return jnp.mean((said - values[:-2]) ** 2)


batch = np.random.default_rng(0).normal(size=(32, 20, 1)).astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "loss without a gradient"}

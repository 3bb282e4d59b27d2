"""A constraint with a Lagrange multiplier: the weights descend and the multiplier ascends, by design."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [4, 32, 1]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    layers = [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]
    return {"policy": layers, "multiplier": jnp.ones(())}


def act(layers, x):
    for layer in layers[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return (x @ layers[-1]["w"] + layers[-1]["b"])[:, 0]


def loss_fn(params, batch):
    action = act(params["policy"], batch)
    cost = jnp.mean((action - 2 * batch[:, 0]) ** 2)
    excess = jnp.mean(action**2) - 1.0
    return cost + jnp.maximum(params["multiplier"], 0) * excess


def metric(params):
    """The best cost under the constraint is 1."""
    action = act(params["policy"], batch)
    return jnp.mean((action - 2 * batch[:, 0]) ** 2) + 5 * jnp.maximum(jnp.mean(action**2) - 1, 0)


rng = np.random.default_rng(0)
batch = rng.normal(size=(256, 4)).astype(np.float32)
optimizer = optax.multi_transform(
    {"descend": optax.adam(5e-3), "ascend": optax.chain(optax.sgd(0.02), optax.scale(-1.0))},
    {"policy": "descend", "multiplier": "ascend"},
)

EXPECTED = {"fault": None, "like": "wrong optimizer"}

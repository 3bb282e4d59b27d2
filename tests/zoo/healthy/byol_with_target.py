"""BYOL: the target network is a part of the params that gets no gradient, behind a `stop_gradient`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def mlp(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, sizes, sizes[1:], strict=False)
    ]


target = mlp(jax.random.PRNGKey(1), [20, 64, 16])


def init(key):
    k1, k2 = jax.random.split(key)
    return {"online": mlp(k1, [20, 64, 16]), "predictor": mlp(k2, [16, 32, 16])}


def apply(layers, x):
    for layer in layers[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def unit(x):
    return x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-6)


def loss_fn(params, batch):
    one, two = batch
    guess = unit(apply(params["predictor"], apply(params["online"], one)))
    aim = jax.lax.stop_gradient(unit(apply(target, two)))
    return 2 - 2 * jnp.mean(jnp.sum(guess * aim, axis=-1))


rng = np.random.default_rng(0)
content = rng.normal(size=(128, 6)) @ rng.normal(size=(6, 20))
batch = tuple((content + 0.3 * rng.normal(size=(128, 20))).astype(np.float32) for _ in range(2))
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "loss without a gradient"}

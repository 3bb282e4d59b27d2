"""The params hold the online and the target network, equal at the start; the target gets no gradient, and
the optimizer leaves it alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [4, 64, 3]


def mlp(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def init(key):
    online = mlp(key)
    return {"online": online, "target": jax.tree.map(jnp.array, online)}


def q(layers, s):
    h = jax.nn.relu(s @ layers[0]["w"] + layers[0]["b"])
    return h @ layers[1]["w"] + layers[1]["b"]


def loss_fn(params, batch):
    s, a, r, s2 = batch
    aim = r + 0.9 * q(jax.lax.stop_gradient(params["target"]), s2).max(axis=1)
    taken = jnp.take_along_axis(q(params["online"], s), a[:, None], axis=1)[:, 0]
    return jnp.mean((taken - aim) ** 2)


rng = np.random.default_rng(0)
s = rng.normal(size=(256, 4)).astype(np.float32)
a = rng.integers(0, 3, 256)
r = (np.argmax(s @ rng.normal(size=(4, 3)), axis=1) == a).astype(np.float32)
batch = s, a, r, rng.normal(size=(256, 4)).astype(np.float32)
optimizer = optax.multi_transform(
    {"online": optax.adam(1e-3), "target": optax.set_to_zero()}, {"online": "online", "target": "target"}
)

EXPECTED = {"fault": None, "like": "layer left out"}

"""A ReLU at the output of a regression of rain, which is zero on most days."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


class RainNet(eqx.Module):
    layers: list

    def __init__(self, key, sizes=(6, 48, 48, 1)):
        keys = jax.random.split(key, len(sizes))
        self.layers = [eqx.nn.Linear(n, m, key=k) for n, m, k in zip(sizes, sizes[1:], keys)]
        # a little rain everywhere at first, so that the last ReLU is not dead
        self.layers[-1] = eqx.tree_at(lambda last: last.bias, self.layers[-1], jnp.array([0.5]))

    def __call__(self, x):
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x[0]


def loss_fn(model, batch):
    weather, mm = batch
    return jnp.mean(jnp.square(jax.vmap(model)(weather) - mm))


rng = np.random.default_rng(0)
weather = rng.normal(size=(1024, 6)).astype(np.float32)
mm = np.maximum(0, weather[:, 0] + 0.8 * weather[:, 1] * weather[:, 2] - 0.7).astype(np.float32)


def data():
    for i in range(0, 1024, 128):
        yield weather[i : i + 128], mm[i : i + 128]


batches = list(data())
model = RainNet(jax.random.PRNGKey(2))
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "dying ReLU"}

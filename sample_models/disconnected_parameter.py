"""A bottleneck whose output is computed and then never read: a slip of one variable name.

Sick: `decode` takes `h` where it should take `z`, so no path leads from `squeeze` and `expand` to the
loss. Remedy: use the value, as `connected_parameter.py` does.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclass
class Dense:
    weight: jax.Array
    bias: jax.Array

    @classmethod
    def create(cls, key, n_in, n_out):
        return cls(jax.random.normal(key, (n_in, n_out)) / jnp.sqrt(n_in), jnp.zeros(n_out))

    def __call__(self, x):
        return x @ self.weight + self.bias


@jax.tree_util.register_dataclass
@dataclass
class Model:
    encode: Dense
    squeeze: Dense
    expand: Dense
    decode: Dense


def init(key):
    sizes = [(10, 20), (20, 4), (4, 20), (20, 10)]
    return Model(*(Dense.create(k, *s) for k, s in zip(jax.random.split(key, 4), sizes, strict=True)))


def reconstruct(model, x):
    h = jnp.tanh(model.encode(x))
    z = jnp.tanh(model.expand(jnp.tanh(model.squeeze(h))))  # noqa: F841
    return model.decode(h)


def loss_fn(model, x):
    return jnp.mean((reconstruct(model, x) - x) ** 2)


batch = np.random.default_rng(8).normal(size=(32, 10)).astype(np.float32)

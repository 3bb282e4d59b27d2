"""A training state: Flax's own, and a named tuple of the user."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from tests.load.models.case import Case, Made

X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
Y = np.sin(X.sum(1, keepdims=True))


class OwnState(NamedTuple):
    params: Any
    opt_state: Any


class WithStatistics(TrainState):
    batch_stats: Any


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=False)(nn.Dense(4)(x)))


def flax(role):
    module = Net()
    variables = module.init(jax.random.PRNGKey(0), X)
    state = WithStatistics.create(apply_fn=module.apply, tx=optax.adam(1e-3), **variables)

    def error(params, batch_stats, x, y):
        found = state.apply_fn({"params": params, "batch_stats": batch_stats}, x, mutable=["batch_stats"])
        return jnp.mean((found[0] - y) ** 2), found[1]

    losses = {
        "params": lambda params, batch_stats, batch: error(params, batch_stats, *batch),
        "state": lambda state, batch: error(state.params, state.batch_stats, *batch),
    }
    (loss, _), found = jax.value_and_grad(error, has_aux=True)(state.params, state.batch_stats, X, Y)

    def at(tree, name):
        layer, leaf = name.split(".")
        return tree[layer][leaf]

    return Made(
        state, losses[role], (X, Y),
        loss=float(loss),
        weight=lambda name: at(state.params, name),
        gradient=lambda name: at(found, name),
        kinds={"Dense_0": "Dense", "BatchNorm_0": "BatchNorm", "Dense_1": "Dense"},
        parameters=tuple(f"{layer}.{leaf}" for layer, leaves in state.params.items() for leaf in leaves),
    )  # fmt: skip


def own():
    params = {"w": jnp.ones((4, 1)), "b": jnp.zeros(1)}
    state = OwnState(params, optax.adam(1e-3).init(params))

    def error(params, batch):
        x, y = batch
        return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)

    loss, found = jax.value_and_grad(error)(params, (X, Y))
    return Made(
        state, lambda state, batch: error(state.params, batch), (X, Y),
        loss=float(loss), weight=params.get, gradient=found.get, kinds={"w": None}, parameters=("w", "b"),
    )  # fmt: skip


CASES = [
    Case("Flax, a loss of params and statistics", "jax", lambda: flax("params")),
    Case("Flax, a loss of the state", "jax", lambda: flax("state")),
    Case("a named tuple, a loss of the state", "jax", own),
]

"""Equinox: activation functions and settings among the fields, BatchNorm state, shared and frozen parts."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tests.load.models.case import Case, Made

X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
Y = np.sin(X.sum(1, keepdims=True))


class Net(eqx.Module):
    layers: list
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    out: eqx.nn.Linear
    scale: jax.Array
    steps: jax.Array
    activation: Callable
    width: int = eqx.field(static=True)

    def __init__(self, key):
        first, second, third = jax.random.split(key, 3)
        self.layers = [eqx.nn.Linear(4, 8, key=first), jax.nn.relu, eqx.nn.Linear(8, 4, key=second)]
        self.norm = eqx.nn.BatchNorm(4, "batch", mode="batch")
        self.dropout = eqx.nn.Dropout(0.2)
        self.out = eqx.nn.Linear(4, 1, key=third)
        self.scale = jnp.ones(())
        self.steps = jnp.arange(3)
        self.activation = jax.nn.tanh
        self.width = 4

    def __call__(self, x, state, key):
        for layer in self.layers:
            x = layer(x)
        x, state = self.norm(x, state)
        return self.scale * self.out(self.dropout(self.activation(x), key=key)), state


class Tied(eqx.Module):
    pair: eqx.nn.Shared

    def __init__(self, key):
        layers = [eqx.nn.Linear(4, 4, key=key), eqx.nn.Linear(4, 4, key=key)]
        self.pair = eqx.nn.Shared(layers, lambda p: p[1].weight, lambda p: p[0].weight)

    def __call__(self, x):
        first, second = self.pair()
        return second(jnp.tanh(first(x)))


@eqx.filter_jit
def loss_with_state(model, state, batch, key):
    x, y = batch
    keys = jax.random.split(key, len(x))
    run = jax.vmap(model, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, None))
    predicted, state = run(x, state, keys)
    return jnp.mean((predicted - y) ** 2), state


def loss_fn(model, batch):
    x, y = batch
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


def split_loss(trained, static, batch):
    return loss_fn(eqx.combine(trained, static), batch)


def by_name(model):
    return lambda name: eval(f"model.{name}", {"model": model})


def with_state():
    model, state = eqx.nn.make_with_state(Net)(jax.random.PRNGKey(0))
    key = jax.random.fold_in(jax.random.PRNGKey(0), 0)
    twin = jax.tree_util.tree_map(lambda leaf: leaf, state)
    (value, _), gradients = eqx.filter_value_and_grad(loss_with_state, has_aux=True)(model, twin, (X, Y), key)
    kinds = {
        "layers[0]": "Linear",
        "layers[2]": "Linear",
        "norm": "BatchNorm",
        "out": "Linear",
        "scale": "Net",
    }
    linear = [
        f"{name}.{leaf}" for name in ("layers[0]", "layers[2]", "out", "norm") for leaf in ("weight", "bias")
    ]
    return Made(
        (model, state),
        loss_with_state,
        (X, Y),
        loss=float(value),
        weight=by_name(model),
        gradient=by_name(gradients),
        kinds=kinds,
        parameters=(*linear, "scale"),
    )


def mlp(loss=loss_fn, model=None, given=None, whole=None):
    whole = whole or eqx.nn.MLP(4, 1, 8, 2, activation=jax.nn.gelu, key=jax.random.PRNGKey(0))
    value, gradients = eqx.filter_value_and_grad(loss_fn)(whole, (X, Y))
    layers = [f"layers[{i}]" for i in range(3)]
    return Made(
        model or whole,
        loss,
        (X, Y),
        loss=float(value),
        weight=by_name(whole),
        gradient=by_name(gradients),
        kinds=dict.fromkeys(layers, "Linear"),
        parameters=tuple(f"{name}.{leaf}" for name in layers for leaf in ("weight", "bias")),
        given=given or {},
    )


def partitioned():
    whole = eqx.nn.MLP(4, 1, 8, 2, key=jax.random.PRNGKey(0))
    trained, static = eqx.partition(whole, eqx.is_inexact_array)
    return mlp(split_loss, trained, {"static": static}, whole)


def tied():
    model = Tied(jax.random.PRNGKey(0))
    value, gradients = eqx.filter_value_and_grad(loss_fn)(model, (X, Y))
    paths = {
        f"pair[{i}].{leaf}": f"pair.pytree[{i}].{leaf}"
        for i, leaf in ((0, "weight"), (0, "bias"), (1, "bias"))
    }
    return Made(
        model,
        loss_fn,
        (X, Y),
        loss=float(value),
        weight=lambda name: by_name(model)(paths[name]),
        gradient=lambda name: by_name(gradients)(paths[name]),
        kinds={"pair[0]": "Linear", "pair[1]": "Linear"},
        parameters=tuple(paths),
    )


CASES = [
    Case("MLP", "equinox", mlp),
    Case("BatchNorm state, dropout and jit", "equinox", with_state),
    Case("partitioned by the user", "equinox", partitioned),
    Case("tied weights", "equinox", tied),
]

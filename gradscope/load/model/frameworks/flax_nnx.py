"""Flax NNX: parameters are differentiated, each trace gets a copy of all other state.

A run of the model may write into its state (BatchNorm statistics, counters of random streams): `merge` with
`copy=True` makes new variables for each trace, so the user's model never holds a tracer.
"""

from __future__ import annotations

import inspect
from typing import Any

import jax
from flax import nnx

from gradscope.load.model.frameworks.base import (
    Adapter,
    Loss,
    OpenedModel,
    OpeningContext,
    Path,
    TakenApart,
    code_of,
    kinds_of,
    nested,
    plain_call,
    unnested,
    written,
)
from gradscope.load.shapes import with_values

_OPTIMIZERS = ("optimizer", "opt", "optim")


class FlaxNNX(Adapter):
    title = "Flax NNX"

    def is_model(self, value: Any) -> bool:
        return isinstance(value, nnx.State) or _has_module(value)

    def is_class(self, value: type) -> bool:
        return issubclass(value, nnx.Module)

    def is_companion(self, value: Any) -> bool:
        return isinstance(value, nnx.Rngs | nnx.Optimizer | nnx.GraphDef) or self.is_model(value)

    def fresh(self, value: Any) -> Any:
        if isinstance(value, nnx.GraphDef | nnx.State):
            return jax.tree_util.tree_map(lambda leaf: leaf, value)
        return nnx.merge(*nnx.split(value), copy=True)

    def transform_of(self, value: Any) -> Any:
        return value.tx if isinstance(value, nnx.Optimizer) else None

    def assignment(self, value: Any, code: str) -> str | None:
        if not (isinstance(value, nnx.Optimizer) or (isinstance(value, nnx.Module) and self.is_model(value))):
            return None
        wrt = getattr(value, "wrt", nnx.Param)
        name = wrt.__name__ if isinstance(wrt, type) else "Param"
        return f"optimizer = nnx.Optimizer(model, {code}, wrt=nnx.{name})"

    def optimizer_state(self, value: Any) -> Any:
        return value.opt_state

    def state_of(self, value: Any) -> Any:
        return None if isinstance(value, nnx.State | nnx.GraphDef) else nnx.state(value, nnx.Not(nnx.Param))

    def keep(self, value: Any, state: Any) -> None:
        nnx.update(value, state)

    def taken_apart(self, value: Any) -> TakenApart | None:
        if isinstance(value, nnx.State | nnx.GraphDef):
            return None
        graph, state = nnx.split(value)
        arrays, structure = jax.tree.flatten(state)
        return TakenApart(
            arrays,
            lambda new: nnx.merge(graph, jax.tree.unflatten(structure, new), copy=True),
            lambda made: jax.tree.leaves(nnx.state(made)),
            frozenset(id(node) for _, node in nnx.iter_graph(value) if isinstance(node, nnx.Variable)),
        )

    def loss_of(self, function: Any) -> Any:
        last, code = written(function), code_of(function)
        if code is None or code.co_qualname != "_grad_general.<locals>.grad_wrapper":
            return function
        return inspect.getclosurevars(last).nonlocals.get("f", function)

    def open(self, value: Any, context: OpeningContext) -> OpenedModel:
        if isinstance(value, nnx.State):
            return _opened_state(value)
        wrt, notes = _differentiated(value, context)
        graph, chosen, others = nnx.split(value, wrt, ...)
        rest = with_values(others)
        flat = nnx.to_flat_state(chosen)
        paths = [path for path, _ in flat]

        def call(params: Any, loss: Loss) -> tuple[Any, Any]:
            model = nnx.merge(graph, _filled(flat, unnested(paths, params)), rest, copy=True)
            result = loss(model)
            return result, jax.tree_util.tree_leaves(nnx.state(model, nnx.Not(wrt)))

        return OpenedModel(
            params=nested(paths, _arrays(flat)),
            call=call,
            packed=lambda params: _filled(flat, unnested(paths, params)),
            kinds=kinds_of(_modules(value)),
            rngs=nnx.Rngs,
            redraw=_redraw if _streams(value) else None,
            forward=lambda model, x, key: model(x),
            notes=notes,
        )


def _has_module(value: Any) -> bool:
    """A module, or a dict, list or tuple with one in it: `(actor, critic)`."""
    if isinstance(value, nnx.Module):
        return True
    if type(value) in (tuple, list):
        return any(_has_module(each) for each in value)
    return type(value) is dict and any(_has_module(each) for each in value.values())


def _modules(value: Any) -> list[tuple[Path, Any]]:
    return [(path, node) for path, node in nnx.iter_graph(value) if isinstance(node, nnx.Module)]


def _streams(value: Any) -> list[Any]:
    return [node for _, node in nnx.iter_graph(value) if isinstance(node, nnx.RngStream)]


def _redraw(model: Any, key: Any) -> None:
    """A stream of several keys, of layers made by `vmap`, gets as many."""
    typed = key if jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    for number, stream in enumerate(_streams(model)):
        fresh = jax.random.fold_in(typed, number)
        stream.key.set_value(jax.random.split(fresh, stream.key.shape) if stream.key.shape else fresh)


def _opened_state(state: nnx.State) -> OpenedModel:
    """The `State` of a model, where the user's loss merges it."""
    flat = nnx.to_flat_state(state)
    paths = [path for path, _ in flat]

    def rebuild(params: Any) -> Any:
        return _filled(flat, unnested(paths, params))

    return OpenedModel(params=nested(paths, _arrays(flat)), call=plain_call(rebuild), packed=rebuild)


def _filled(flat: Any, leaves: list[Any]) -> Any:
    filled = [
        (path, old.replace(leaf) if isinstance(old, nnx.Variable) else leaf)
        for (path, old), leaf in zip(flat, leaves, strict=True)
    ]
    return nnx.from_flat_state(filled)


def _arrays(flat: Any) -> list[Any]:
    return [leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf for _, leaf in flat]


def _differentiated(model: Any, context: OpeningContext) -> tuple[Any, tuple[str, ...]]:
    """The filter of the variables that are trained: that of the user's optimizer, or all parameters."""
    given = (context.names.get(name) for name in _OPTIMIZERS)
    wrt = next((each.wrt for each in given if isinstance(each, nnx.Optimizer)), nnx.Param)
    chosen, params = (len(nnx.to_flat_state(nnx.state(model, each))) for each in (wrt, nnx.Param))
    if not chosen:
        return nnx.Param, ()
    if chosen >= params:
        return wrt, ()
    return wrt, (f"The optimizer trains {chosen} of {params} parameters: the others are passed through.",)


ADAPTER = FlaxNNX()

"""Equinox: a module is a pytree whose inexact arrays are the parameters; everything else is closed over.

A `State` forbids to be used twice, so each trace gets a copy.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from gradscope.load.model.frameworks.base import (
    Adapter,
    OpenedModel,
    OpeningContext,
    Path,
    kinds_of,
    nested,
    plain_call,
    unnested,
    wrapped_functions,
)
from gradscope.load.shapes import is_shape

SPEC_NAMES = ("filter_spec", "trainable_spec", "trainable", "trainable_mask", "is_trainable")
STATE_NAMES = ("state", "model_state", "bn_state", "net_state")


class Equinox(Adapter):
    title = "Equinox"

    def is_model(self, value: Any) -> bool:
        return _has_module(value)

    def is_class(self, value: type) -> bool:
        return issubclass(value, eqx.Module)

    def is_companion(self, value: Any) -> bool:
        return isinstance(value, eqx.nn.State) or _has_module(value)

    def fresh(self, value: Any) -> Any:
        return _copy(value)

    def loss_of(self, function: Any) -> Any:
        kinds = ("_ValueAndGradWrapper", "_GradWrapper")
        for each in wrapped_functions(function):
            if type(each).__name__ in kinds and type(each).__module__.startswith("equinox."):
                return each.__wrapped__
        return function

    def open(self, value: Any, context: OpeningContext) -> OpenedModel:
        model, state = _model_and_state(value)
        found, structure = jax.tree_util.tree_flatten_with_path(model)
        frozen, notes = _frozen(model, context)
        places = [i for i, (path, leaf) in enumerate(found) if _is_weight(leaf) and path not in frozen]
        walks = [_walk(model, found[i][0]) for i in places]
        paths = [path for path, _ in walks]
        leaves = [leaf for _, leaf in found]

        def rebuild(params: Any, others: Sequence[Any] = leaves) -> Any:
            filled = list(others)
            for place, leaf in zip(places, unnested(paths, params), strict=True):
                filled[place] = leaf
            return jax.tree_util.tree_unflatten(structure, filled)

        return OpenedModel(
            params=nested(paths, [leaves[i] for i in places]),
            call=plain_call(rebuild),
            packed=lambda params: rebuild(params, [None] * len(leaves)),
            kinds=kinds_of(module for _, modules in walks for module in modules),
            given={} if state is None else dict.fromkeys(STATE_NAMES, state),
            forward=_forward(state),
            notes=notes,
        )


def _is_weight(leaf: Any) -> bool:
    return eqx.is_inexact_array(leaf) or (is_shape(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact))


def _has_module(value: Any) -> bool:
    """A module, or a dict, list or tuple with one in it: `{"generator": G, "critic": D}`.

    What `filter_jit` and its like make of a function is a module too, and no model.
    """
    if isinstance(value, eqx.Module):
        return not hasattr(value, "__wrapped__")
    if type(value) in (tuple, list):
        return any(_has_module(each) for each in value)
    return type(value) is dict and any(_has_module(each) for each in value.values())


def _model_and_state(value: Any) -> tuple[Any, Any]:
    """`(model, state)` of what `eqx.nn.make_with_state` returned; no state for a model alone."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], eqx.nn.State):
        return value[0], value[1]
    return value, None


def _copy(tree: Any) -> Any:
    return jax.tree_util.tree_map(lambda leaf: leaf, tree)


def _walk(model: Any, keys: Any) -> tuple[Path, list[tuple[Path, Any]]]:
    """The names on the way to a leaf, and the modules met there; `Shared` adds no step of its own."""
    path: Path = ()
    node, modules = model, []
    for key in keys:
        if isinstance(node, eqx.Module):
            modules.append((path, node))
        step: Any = getattr(key, "name", getattr(key, "key", getattr(key, "idx", None)))
        if not (isinstance(node, eqx.nn.Shared) and step == "pytree"):
            path += (step if isinstance(step, str | int) else str(key),)
        node = getattr(node, step, None) if hasattr(key, "name") else _item(node, step)
    return path, modules


def _item(node: Any, step: Any) -> Any:
    try:
        return node[step]
    except (TypeError, KeyError, IndexError):
        return None


def _frozen(model: Any, context: OpeningContext) -> tuple[set[Any], tuple[str, ...]]:
    """Paths of the arrays that a filter spec of the user's file leaves out of training, and a note on it."""
    name = next((n for n in SPEC_NAMES if _is_spec(context.names.get(n))), None)
    if name is None:
        return set(), ()
    try:
        kept, rest = eqx.partition(model, context.names[name])
    except ValueError:
        return set(), (f"{name} does not fit the model: it is not used.",)
    frozen = [path for path, leaf in _leaves(rest) if _is_weight(leaf)]
    count = len(frozen) + sum(_is_weight(leaf) for _, leaf in _leaves(kept))
    note = f"{name} freezes {len(frozen)} of {count} arrays: they are passed through."
    return set(frozen), (note,) if frozen else ()


def _leaves(tree: Any) -> Any:
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _is_spec(value: Any) -> bool:
    """A pytree of booleans."""
    leaves = jax.tree_util.tree_leaves(value)
    return bool(leaves) and all(isinstance(leaf, bool) for leaf in leaves)


def _forward(state: Any) -> Any:
    """One example at a time, as Equinox layers work; BatchNorm is given the axis name of its examples."""

    def forward(model: Any, x: Any, key: Any) -> Any:
        keys = jax.random.split(key, len(x))
        takes_key = "key" in inspect.signature(model).parameters

        def one(x: Any, key: Any) -> Any:
            given = () if state is None else (_copy(state),)
            result = model(x, *given, **({"key": key} if takes_key else {}))
            return result if state is None else result[0]

        return jax.vmap(one, axis_name="batch")(x, keys)

    return forward


ADAPTER = Equinox()

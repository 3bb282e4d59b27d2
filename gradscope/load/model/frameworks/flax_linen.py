"""Flax Linen: a module holds no arrays, so its parameters are made here unless the user's file gives them.

What a module is initialized with is what the loss calls it with (`linen_calls`), not a guess from the batch.
Of the variables only the collection `params` is differentiated; the others are state and passed through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
from flax import linen as nn
from flax.core import meta

from gradscope.load.message_text import listed
from gradscope.load.model.frameworks.base import (
    Adapter,
    OpenedModel,
    OpeningContext,
    Path,
    nested,
    plain_call,
    unnested,
)
from gradscope.load.model.frameworks.linen_calls import Streams, first_call, initialized, seen_call, watching
from gradscope.load.model.frameworks.stand_in import training_flags

STATE_NAMES = ("state", "model_state", "net_state", "extra_variables", "non_trainable", "mutable_state")
_COLLECTIONS = ("batch_stats", "cache", "constants", "intermediates", "losses", "params_axes")


class FlaxLinen(Adapter):
    title = "Flax Linen"
    sees_calls = True

    def is_model(self, value: Any) -> bool:
        return isinstance(value, nn.Module) or _is_variables(value) or _has_boxes(value)

    def is_class(self, value: type) -> bool:
        return issubclass(value, nn.Module)

    def is_blueprint(self, value: Any) -> bool:
        return isinstance(value, nn.Module)

    def open(self, value: Any, context: OpeningContext) -> OpenedModel:
        if not isinstance(value, nn.Module):
            variables = value if _is_variables(value) else {"params": value}
            whole = _is_variables(value) and _takes_variables(value, context)
            return _opened(variables, context, whole=whole, module=_module(context.names))
        call = seen_call(value, context, _stand_ins(context))
        variables, kinds = initialized(call, context.seed)
        return _opened(variables, context, whole=call.wants_variables, module=call.module, kinds=kinds)

    def forward(self, blueprint: Any) -> Any:
        return _forward(blueprint)

    def watch(self, seen: Callable[[tuple[str, ...], str], object]) -> AbstractContextManager[None]:
        return watching(seen)


def _is_variables(value: Any) -> bool:
    """What `Module.init` returns: `{"params": {...}, "batch_stats": {...}}`."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("params"), Mapping)
        and all(isinstance(key, str) and isinstance(each, Mapping) for key, each in value.items())
    )


def _stand_ins(context: OpeningContext) -> dict[str, Any]:
    return {name: {} for name in (*_COLLECTIONS, *STATE_NAMES) if name not in context.names}


def _takes_variables(variables: Any, context: OpeningContext) -> bool:
    """Whether the loss takes all of them: certainly where the file gives them under its parameter's name."""
    found = [name for name, value in context.names.items() if value is variables]
    if not found or context.role in found or context.run is None:
        return True
    try:
        call = first_call(context, {}, _stand_ins(context))
    except Exception:
        return True
    return call is None or not call[-1]


def _is_box(value: Any) -> bool:
    return isinstance(value, meta.AxisMetadata)


def _has_boxes(value: Any) -> bool:
    return isinstance(value, Mapping) and any(map(_is_box, jax.tree_util.tree_leaves(value, is_leaf=_is_box)))


def _opened(
    variables: Mapping[str, Any],
    context: OpeningContext,
    *,
    whole: bool,
    module: Any = None,
    kinds: Mapping[tuple[str, ...], str] | None = None,
) -> OpenedModel:
    """`whole`: the loss takes all variables, else the collection `params`."""
    rest = {name: each for name, each in variables.items() if name != "params"}
    found, structure = jax.tree_util.tree_flatten_with_path(variables["params"])
    paths = [_path(keys) for keys, _ in found]

    def rebuild(params: Any) -> Any:
        filled = jax.tree_util.tree_unflatten(structure, unnested(paths, params))
        if not whole:
            return filled
        return type(variables)({**rest, "params": filled})  # type: ignore[call-arg]

    states = {**dict.fromkeys(STATE_NAMES, rest), **rest} if rest else {}
    return OpenedModel(
        params=nested(paths, [leaf for _, leaf in found]),
        call=plain_call(rebuild),
        packed=rebuild,
        kinds=kinds or {},
        given={name: each for name, each in states.items() if name not in context.names},
        rngs=Streams,
        forward=_forward(module, rest) if module is not None else None,
        notes=_notes(rest),
    )


def _notes(rest: Mapping[str, Any]) -> tuple[str, ...]:
    own = [f"`{name}`" for name in rest if name not in _COLLECTIONS]
    return (f"Not `params`, so not differentiated: the collections {listed(own)}.",) if own else ()


def _path(keys: Any) -> Path:
    """The keys to a leaf, without the field `value` of a box such as `nn.Partitioned`."""
    steps = [
        getattr(key, "key", getattr(key, "idx", None))
        for key in keys
        if getattr(key, "name", None) != "value"
    ]
    return tuple(step if isinstance(step, str | int) else str(step) for step in steps)


def _module(names: Mapping[str, Any]) -> Any:
    """The module that variables of the user's file belong to: `model`, or the only one."""
    modules = {name: value for name, value in names.items() if isinstance(value, nn.Module)}
    return modules.get("model", next(iter(modules.values())) if len(modules) == 1 else None)


def _forward(module: Any, rest: Mapping[str, Any] | None = None) -> Any:
    """As in training: train flags set, statistics of the batch, a dropout key."""

    def forward(given: Any, x: Any, key: Any) -> Any:
        variables = given if _is_variables(given) else {**(rest or {}), "params": given}
        flags = training_flags(type(module).__call__)
        mutable = [name for name in variables if name != "params"]
        result = module.apply(variables, x, rngs=Streams(key), mutable=mutable or False, **flags)
        return result[0] if mutable else result

    return forward


ADAPTER = FlaxLinen()

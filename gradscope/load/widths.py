"""One size of a network: the functions of a user's file that take a `width` or a `depth` are bound to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.model.find_params import MAKERS, is_function
from gradscope.load.signature.keys import required_parameters

WIDTH, DEPTH = "width", "depth"
_USUAL = {WIDTH: 64, DEPTH: 4}
_PLACE = {WIDTH: "the size of its hidden layers", DEPTH: "the number of its layers"}
_NETWORKS = ("init", *MAKERS, "problem")
"""What makes a network."""


def at_size(names: Mapping[str, Any], size: str, value: int, target: str) -> dict[str, Any]:
    """The names with a `width` or a `depth` given to what makes a network, and to `optimizer` where it takes
    one, too.

    Raises `GradscopeError`, with the line to write, where no network takes one.
    """
    given = {size: value}
    bound = {name: partial(names[name], **given) for name in _NETWORKS if _takes(names.get(name), size)}
    if not bound:
        raise _not_taken(names, size, target)
    if _takes(names.get("optimizer"), size):
        bound["optimizer"] = partial(names["optimizer"], **given)
    return {**names, **bound}


def needing_size(names: Mapping[str, Any], size: str, value: int) -> dict[str, Any]:
    """Those of the same functions that cannot be called without it, bound to `value`."""
    wanted = (*_NETWORKS, "optimizer")
    return {
        name: partial(names[name], **{size: value})
        for name in wanted
        if _takes(names.get(name), size) and size in [each.name for each in required_parameters(names[name])]
    }


def _takes(value: Any, size: str) -> bool:
    return is_function(value) and size in _parameters(value)


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a function that is not written in Python
        return []


def _not_taken(names: Mapping[str, Any], size: str, target: str) -> GradscopeError:
    maker = next((name for name in _NETWORKS if is_function(names.get(name))), None)
    if maker is None:
        line = f"def init(key, {size}={_USUAL[size]}): return params"
        what = f"{target} gives a network of one {size}."
    else:
        old = ", ".join(_parameters(names[maker]))
        line = f"def {maker}({old}{', ' if old else ''}{size}={_USUAL[size]}):"
        what = f"`{maker}({old})` in {target} takes no `{size}`."
    return GradscopeError(
        what,
        why=f"With --{size}s the network is made anew at each {size}: by `init(key, {size})` or "
        f"`model({size})`.",
        fix=f"Write `{line}`, and `{size}` in the place of {_PLACE[size]}.",
        slug="no-width",
    )

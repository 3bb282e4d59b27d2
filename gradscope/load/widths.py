"""One width of a network: the functions of a user's file that take a `width` are bound to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.model.find_params import MAKERS, is_function

WIDTH = "width"
_NETWORKS = ("init", *MAKERS, "problem")
"""What makes a network."""


def at_width(names: Mapping[str, Any], width: int, target: str) -> dict[str, Any]:
    """The names with `width` given to what makes a network, and to `optimizer` where it takes one, too.

    Raises `GradscopeError`, with the line to write, where no network takes a width.
    """
    bound = {name: partial(names[name], width=width) for name in _NETWORKS if _takes_width(names.get(name))}
    if not bound:
        raise _no_width(names, target)
    if _takes_width(names.get("optimizer")):
        bound["optimizer"] = partial(names["optimizer"], width=width)
    return {**names, **bound}


def _takes_width(value: Any) -> bool:
    return is_function(value) and WIDTH in _parameters(value)


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a function that is not written in Python
        return []


def _no_width(names: Mapping[str, Any], target: str) -> GradscopeError:
    maker = next((name for name in _NETWORKS if is_function(names.get(name))), None)
    if maker is None:
        line = "def init(key, width=64): return params"
        what = f"{target} gives a network of one width."
    else:
        old = ", ".join(_parameters(names[maker]))
        line = f"def {maker}({old}{', ' if old else ''}width=64):"
        what = f"`{maker}({old})` in {target} takes no `width`."
    return GradscopeError(
        what,
        why="With --widths the network is made anew at each width: by `init(key, width)` or `model(width)`.",
        fix=f"Write `{line}`, and `width` in the place of the size of its hidden layers.",
        slug="no-width",
    )

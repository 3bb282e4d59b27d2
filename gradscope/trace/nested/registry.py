"""Finds what is known of an equation's primitive: the files of this folder are walked, no list is kept."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from jax.extend.core import JaxprEqn

import gradscope.trace.nested as package
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Inside, Nested, Run


@cache
def kinds() -> Mapping[str, Nested]:
    """By name of a primitive, the file that knows it."""
    found: dict[str, Nested] = {}
    for module in pkgutil.iter_modules(package.__path__):
        kind = importlib.import_module(f"{package.__name__}.{module.name}")
        for name in getattr(kind, "NAMES", ()):
            found[name] = cast("Nested", kind)
    return found


def inside(eqn: JaxprEqn) -> Inside | None:
    """What the equation carries; `None` for one without a jaxpr, or with one that nobody here knows."""
    kind = kinds().get(eqn.primitive.name)
    return None if kind is None else kind.inside(eqn)


def rebuild(eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
    """`Nested.rebuild` of an equation whose `inside` is known."""
    return kinds()[eqn.primitive.name].rebuild(eqn, values, run, state, rows)


def has_own_rule(eqn: JaxprEqn) -> bool:
    """Its derivative is a rule of its own, not that of the jaxpr that it carries."""
    carried = inside(eqn)
    return carried is not None and carried.own_rule


def called_in_place(eqn: JaxprEqn) -> Body | None:
    """The function that it merely calls, as if its equations stood there; `None` for any other equation."""
    carried = inside(eqn)
    return carried.entries[0].body if carried is not None and carried.inlined else None


def is_called(eqn: JaxprEqn) -> bool:
    """It runs the one jaxpr that it carries, once, on its operands."""
    carried = inside(eqn)
    return carried is not None and carried.calls

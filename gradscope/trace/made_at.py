"""The user's line at which an operand of an equation is made, wherever the equation stands in the program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.records import Source
from gradscope.trace.jaxprs import Body, is_literal
from gradscope.trace.nested.contract import Entry
from gradscope.trace.nested.registry import inside
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS

JOINED = frozenset({"and", "or"})
"""Of a mask and a constant the mask is what is looked for: libraries add masks that hide nothing."""
Around = tuple[tuple[Body, JaxprEqn, Entry], ...]
"""The equations around a body, outermost first: the body each stands in, and which of its jaxprs is next."""


def made_at(body: Body, eqn: JaxprEqn, operand: int) -> Source | None:
    """The line of the operation whose result the operand is, views of it aside; else that of the equation.

    A function that is traced once stands in as many places as it is called from: `None` where they differ.
    """
    found = {_line(around, here, eqn, operand) for around, here in _places(body, eqn, ())}
    return found.pop() if len(found) == 1 else None


def _line(around: Around, here: Body, eqn: JaxprEqn, operand: int) -> Source | None:
    maker = _maker(around, here, eqn.invars[operand])
    calls = tuple(outer for _, outer, _ in reversed(around))
    return (None if maker is None else source_of(*maker)) or source_of(eqn, calls)


def _places(body: Body, wanted: JaxprEqn, around: Around) -> Iterator[tuple[Around, Body]]:
    for eqn in body.eqns:
        if eqn is wanted:
            yield around, body
        elif (carried := inside(eqn)) is not None:
            for entry in carried.entries:
                yield from _places(entry.body, wanted, (*around, (body, eqn, entry)))


def _maker(around: Around, body: Body, value: Any) -> tuple[JaxprEqn, tuple[JaxprEqn, ...]] | None:
    """The equation and those around it, innermost first; `None` for a constant, an input of the program."""
    while not is_literal(value):
        maker = next((each for each in body.eqns if value in each.outvars), None)
        if maker is None:
            inputs = list(body.jaxpr.invars)
            if value not in inputs or not around:
                return None
            *before, (outer, call, entry) = around
            value = call.invars[entry.operands[inputs.index(value)]]
            around, body = tuple(before), outer
        elif maker.primitive.name in VIEWS:
            value = maker.invars[0]
        elif (carried := inside(maker)) is not None and carried.calls:
            (entry,) = carried.entries
            results: list[Any] = list(maker.outvars)
            inner = entry.body.jaxpr.outvars[results.index(value)]
            around, body, value = (*around, (body, maker, entry)), entry.body, inner
        else:
            if maker.primitive.name in JOINED:
                sides = [side for each in maker.invars if (side := _maker(around, body, each)) is not None]
                if len(sides) == 1:
                    return sides[0]
            return maker, tuple(outer for _, outer, _ in reversed(around))
    return None

"""Finds a `reshape` in the place of a transpose: the shape of another order of the axes, without the order.

A run of axes that stands in both shapes, with another number of elements before it, was meant to be moved:
(rows, steps) becomes (steps, rows), (steps, heads * width) becomes (heads, steps, width). A reshape keeps
the order of the elements, so that a place along the axis then holds parts of several places. Axes that are
only split or merged where they stand have the same number of elements before them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.located import Located, Place
from gradscope.trace.domains.objective.axes import parts, shape_of
from gradscope.trace.leaves import split
from gradscope.trace.program import Program
from gradscope.trace.walk import walk

Shape = tuple[int, ...]
LOOKED_AT = 64
"""Places of the result of which it is counted what they hold, at even distances."""


@dataclass(frozen=True)
class AxisExchange:
    """What has to be done to the operand in place of the reshape. All of it without axes of length one."""

    before: Shape
    """The shape that the operand is brought to at first."""
    source: int
    """The axis of that to be moved, and where to."""
    to: int
    split: bool
    block: tuple[int, int]
    """First axis of what keeps its length, in the operand and in the result."""
    length: int
    """Axes of it."""
    around: tuple[int, int, int, int]
    """Elements before and behind it in the operand, and in the result, of the axes that are mixed up."""

    def __call__(self, value: Any, result: Shape) -> Any:
        """Traceable."""
        return jnp.moveaxis(value.reshape(self.before), self.source, self.to).reshape(result)


@dataclass(frozen=True)
class Suspect:
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    site: int | None
    exchange: AxisExchange


def suspects(program: Program, batch: Any) -> list[Suspect]:
    """In the order of the program: those of values that are made of the batch."""
    body = program.body
    equations = (each for eqn in body.eqns for each in jaxprs.all_equations(eqn))
    if not any(eqn.primitive.name == "reshape" and exchange_of(eqn) is not None for eqn in equations):
        return []
    last = len(body.jaxpr.invars) - 1
    first = last - len(split(batch).traced)
    domain = _Reshapes(closed_over=first == last)
    inputs = [_Made(data=first <= i < last) for i in range(last + 1)]
    walk(domain, body, inputs, program.plan)
    return list(domain.found.values())


def exchange_of(eqn: JaxprEqn) -> AxisExchange | None:
    """`None` for a reshape that only splits and merges axes where they stand."""
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    if jaxprs.order_before(eqn) != tuple(range(len(before))) or 0 in before:
        return None
    old, new = (tuple(size for size in shape if size > 1) for shape in (before, after))
    runs = [(a, b) for a, b in parts(old, new) if len(a) > 1 and len(b) > 1]
    return next((found for a, b in runs for found in _exchanges(old, new, a, b)), None)


def _exchanges(old: Shape, new: Shape, a: Sequence[int], b: Sequence[int]) -> Iterator[AxisExchange]:
    """Of the axes `a` before and `b` after it, which hold the same elements; the longest block first."""
    of, to = tuple(old[axis] for axis in a), tuple(new[axis] for axis in b)
    for length in range(min(len(of), len(to)) - 1, 0, -1):
        for i in range(len(of) - length + 1):
            for j in range(len(to) - length + 1):
                found = _exchange(of, to, i, j, length) if of[i : i + length] == to[j : j + length] else None
                if found is not None:
                    yield replace(
                        found,
                        before=(*old[: a[0]], *found.before, *old[a[-1] + 1 :]),
                        source=a[0] + found.source,
                        to=a[0] + found.to,
                        block=(a[0] + i, b[0] + j),
                    )


def _exchange(old: Shape, new: Shape, i: int, j: int, length: int) -> AxisExchange | None:
    here, there, block = math.prod(old[:i]), math.prod(new[:j]), old[i : i + length]
    if here == there or max(here, there) % min(here, there):
        return None
    factor, end = max(here, there) // min(here, there), i + length
    if there > here:  # a factor of what follows is to come before the block
        if end == len(old) or old[end] % factor:
            return None
        rest = old[end] // factor
        left, right = (*old[:i], factor), (*_long(rest), *old[end + 1 :])
        before, source, to = (*old[:i], *block, factor, *right), end, i
    else:
        if i == 0 or old[i - 1] % factor:
            return None
        rest = old[i - 1] // factor
        left, right = (*old[: i - 1], *_long(rest)), (factor, *old[end:])
        before, source = (*left, factor, *block, *old[end:]), len(left)
        to = source + length
    if not (_in_order(left, new[:j]) and _in_order(right, new[j + length :])):
        return None
    inside = math.prod(old[:i]), math.prod(old[end:]), there, math.prod(new[j + length :])
    return AxisExchange(before, source, to, before != old or len(new) != len(old), (i, j), length, inside)


def _long(size: int) -> Shape:
    return (size,) if size > 1 else ()


def _in_order(old: Shape, new: Shape) -> bool:
    return all(len(a) < 2 or len(b) < 2 for a, b in parts(old, new))


def mixing(eqn: JaxprEqn, exchange: AxisExchange) -> tuple[int, int]:
    """How many places there are along the block, and of how many the elements lie in one place of the result,
    at most."""
    shape = tuple(size for size in shape_of(eqn.invars[0]) if size > 1)
    first = exchange.block[0]
    places = math.prod(shape[first : first + exchange.length])
    _, behind, ahead, after = exchange.around
    starts = places * after * np.arange(ahead, dtype=np.int64)
    run, mixed = np.arange(after, dtype=np.int64), 0
    for place in range(0, places, -(-places // LOOKED_AT)):
        held = (starts[:, None] + place * after + run) // behind % places
        mixed = max(mixed, int(np.unique(held).size))
    return places, mixed


def written(eqn: JaxprEqn, exchange: AxisExchange) -> str:
    """What exchanges the axes, in the words of `jax.numpy`."""
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    value = "x" if before == exchange.before else f"x.reshape{exchange.before}"
    order = list(exchange.before)
    moved = order.pop(exchange.source)
    order.insert(exchange.to, moved)
    turned = f"jnp.moveaxis({value}, {exchange.source}, {exchange.to})"
    return turned if tuple(order) == after else f"{turned}.reshape{after}"


@dataclass(frozen=True, slots=True)
class _Made:
    """What is known of one value."""

    data: bool = False
    """An array of the batch goes into it."""
    padded: bool = False
    """Elements were put at its end: rows that are then shifted against each other by a reshape."""
    site: int | None = None


class _Reshapes(Located[_Made]):
    def __init__(self, *, closed_over: bool) -> None:
        self._closed_over = closed_over
        self.found: dict[int, Suspect] = {}

    def literal(self, atom: Any, place: Place) -> _Made:
        del atom, place
        return _Made()

    def constant(self, value: Any, place: Place) -> _Made:
        del place
        return _Made(data=self._closed_over and math.prod(getattr(value, "shape", ())) > 1)

    def at_site(self, value: _Made, site: int) -> _Made:
        return replace(value, site=site)

    def join(self, values: Sequence[_Made]) -> _Made:
        return _Made(
            any(value.data for value in values),
            any(value.padded for value in values),
            max((value.site for value in values if value.site is not None), default=None),
        )

    def plain(self, eqn: JaxprEqn, values: list[_Made], place: Place, index: int) -> list[_Made]:
        del place, index
        name, found = eqn.primitive.name, self.join(values)
        if name == "reshape" and found.data and not (found.padded or jaxprs.in_backward(eqn)):
            exchange = exchange_of(eqn)
            if exchange is not None:
                suspect = Suspect(eqn, self.around[1:], found.site, exchange)
                self.found.setdefault(id(eqn), suspect)
        kept = name in _KEEPING and found.padded
        return [replace(found, padded=kept or name in _PADDING)] * len(eqn.outvars)


_PADDING = frozenset({"pad", "concatenate"})
_KEEPING = frozenset({"reshape", "slice", "dynamic_slice", "convert_element_type", "copy", "squeeze", "neg"})

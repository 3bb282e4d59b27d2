"""Runs loops as a whole first, and step by step only where a result is not finite.

A step whose non-finite results come from non-finite inputs of the same kind inherits their origins. The walk
descends, equation by equation, only into a step that is itself the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.nonfinite.causality import Attribution
from gradscope.nonfinite.nonfinite_origin import Cell, NonFiniteOrigin, Occurrence
from gradscope.nonfinite.values import NonFiniteKind, range_of
from gradscope.nonfinite.walk import Surroundings, Walk
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted, Entry, Inside

MOST_DESCENTS = 64
"""The most steps of one loop that are walked equation by equation; later ones take over their origins."""


class Stepper:
    """Runs one step after the other and carries the origins along."""

    def __init__(
        self, walk: Walk, body: Body, occurrence: Occurrence, carry: int, *, every_step: bool = False
    ) -> None:
        """`every_step`: also steps whose results are finite are walked equation by equation."""
        self._every_step = every_step
        self._walk = walk
        self._body = body
        self._occurrence = occurrence
        self._carry = carry
        self._step = jaxprs.compiled(body)
        self._known: dict[tuple[int, NonFiniteKind], NonFiniteOrigin] = {}
        self._descents = 0

    def __call__(self, cells: list[Cell], consts: int, number: int) -> list[Cell]:
        """The results of one step, the carried ones first; `number` is that of the forward loop."""
        walked = self.descend(cells, number) if self._every_step else None
        if walked is not None:
            return walked

        def run(values: list[Any]) -> list[Any]:
            return self._step(*values)

        occurrence = replace(self._occurrence, steps=(*self._occurrence.steps, number))
        outs = self._walk.with_ranges(run([cell.value for cell in cells]), cells, occurrence)
        descent = _Descent(self, cells, outs, number)
        blamed = self._walk.blamed(
            run, cells, outs, descent, like=lambda out: consts + out if out < self._carry else None
        )
        for out, cell in enumerate(blamed):
            for kind, origin in cell.blame.items():
                self._known.setdefault((out, kind), origin)
        return descent.traced(blamed)

    def descend(self, cells: list[Cell], number: int) -> list[Cell] | None:
        if self._descents == MOST_DESCENTS:
            return None
        self._descents += 1
        around = Surroundings(self._occurrence.calls, self._occurrence.steps, self._occurrence.backward)
        return self._walk.run(self._body, cells, around.inside(self._occurrence, number))

    def origin_here(
        self, cells: list[Cell], outs: list[Cell], out: int, kind: NonFiniteKind, found: Attribution
    ) -> NonFiniteOrigin:
        """The step itself, where walking it equation by equation found no origin."""
        known = self._known.get((out, kind))
        return known or self._walk.origin(self._occurrence, cells, outs, out, kind, found)


@dataclass
class _Descent:
    """Walks one step equation by equation when it is first needed, for all of its results."""

    stepper: Stepper
    cells: list[Cell]
    outs: list[Cell]
    number: int
    walked: list[Cell] | None = None

    def __call__(self, out: int, kind: NonFiniteKind, found: Attribution) -> NonFiniteOrigin:
        if self.walked is None:
            self.walked = self.stepper.descend(self.cells, self.number)
        blame = self.walked[out].blame if self.walked is not None else {}
        return blame.get(kind) or self.stepper.origin_here(self.cells, self.outs, out, kind, found)

    def traced(self, blamed: list[Cell]) -> list[Cell]:
        """With the history of the walk, which is finer than that of the step."""
        if self.walked is None:
            return blamed
        return [replace(out, trace=fine.trace) for out, fine in zip(blamed, self.walked, strict=True)]


def walk_loop(
    walk: Walk,
    eqn: JaxprEqn,
    inside: Inside,
    cells: list[Cell],
    occurrence: Occurrence,
    *,
    every_step: bool = False,
) -> list[Cell]:
    """The results of a loop, step by step where the loop as a whole gives something bad.

    `every_step`: the steps of a loop of known length are walked whatever the loop gives.
    """
    whole = _whole(walk, eqn, cells, occurrence)
    goes_in = every_step and isinstance(inside.loop, Counted)
    if inside.loop is None or not (goes_in or any(out.value_range.kinds for out in whole)):
        return whole
    (entry,) = inside.entries
    if isinstance(inside.loop, Counted):
        blames = _steps(walk, entry, inside.loop, cells, occurrence, every_step=every_step)
    else:
        blames = _turns(walk, entry, inside.loop.condition, cells, occurrence)
    return _with_blame(walk, cells, whole, occurrence, blames)


def _steps(
    walk: Walk,
    entry: Entry,
    loop: Counted,
    cells: list[Cell],
    occurrence: Occurrence,
    *,
    every_step: bool,
) -> list[dict[NonFiniteKind, NonFiniteOrigin]]:
    """By result, the blame after a loop of known length; of stacked results that of any step."""
    ins = [cells[operand] for operand in entry.operands]
    consts, rows = ins[: entry.carried.start], ins[entry.carried.stop :]
    carry, count = ins[entry.carried.start : entry.carried.stop], len(entry.carried)
    stepper = Stepper(walk, entry.body, occurrence, count, every_step=every_step)
    stacked: list[dict[NonFiniteKind, NonFiniteOrigin]] = [{} for _ in entry.body.jaxpr.outvars[count:]]
    for done in range(loop.length):
        index = loop.length - 1 - done if loop.reverse else done
        number = loop.length - 1 - done if occurrence.backward else done
        outs = stepper([*consts, *carry, *(_row(cell, index) for cell in rows)], len(consts), number)
        carry = outs[:count]
        for known, out in zip(stacked, outs[count:], strict=True):
            known.update({kind: origin for kind, origin in out.blame.items() if kind not in known})
    return [*(dict(out.blame) for out in carry), *stacked]


def _turns(
    walk: Walk, entry: Entry, condition: Entry, cells: list[Cell], occurrence: Occurrence
) -> list[dict[NonFiniteKind, NonFiniteOrigin]]:
    """By result, the blame after a loop that turns as often as its condition says."""
    ins = [cells[operand] for operand in entry.operands]
    consts, carry = ins[: entry.carried.start], ins[entry.carried.start :]
    asked = [cells[operand] for operand in condition.operands][: len(condition.operands) - len(carry)]
    goes_on = jaxprs.compiled(condition.body)
    stepper = Stepper(walk, entry.body, occurrence, len(carry))
    number = 0
    while bool(goes_on(*(cell.value for cell in [*asked, *carry]))[0]):
        carry = stepper([*consts, *carry], len(consts), number)
        number += 1
    return [dict(out.blame) for out in carry]


def _whole(walk: Walk, eqn: JaxprEqn, cells: list[Cell], occurrence: Occurrence) -> list[Cell]:
    return walk.with_ranges(jaxprs.run_equation(eqn, [cell.value for cell in cells]), cells, occurrence)


def _with_blame(
    walk: Walk,
    cells: list[Cell],
    whole: list[Cell],
    occurrence: Occurrence,
    blames: list[dict[NonFiniteKind, NonFiniteOrigin]],
) -> list[Cell]:
    """A kind that no single step shows (the whole loop rounds differently) is attributed to the loop."""
    found = []
    for out, (cell, blame) in enumerate(zip(whole, blames, strict=True)):
        for kind in cell.value_range.kinds:
            if kind not in blame:
                other = next(iter(blame.values()), None)
                attribution = Attribution((0,) * np.ndim(cell.value), None)
                blame[kind] = other or walk.origin(occurrence, cells, whole, out, kind, attribution)
        found.append(replace(cell, blame={kind: blame[kind] for kind in cell.value_range.kinds}))
    return found


@jax.jit
def _taken(value: Any, index: Any) -> Any:
    return lax.dynamic_index_in_dim(value, index, 0, keepdims=False)


def _row(cell: Cell, index: int) -> Cell:
    value = _taken(cell.value, index)
    if not cell.value_range.kinds:
        return replace(cell, value=value)
    found = range_of(value)
    return Cell(value, found, {kind: cell.blame[kind] for kind in found.kinds}, cell.trace)

"""Loops: run as a whole first, and step by step only where they give something bad.

A step whose bad results come from bad inputs of the same kind inherits their blame; only into a step
that makes something bad itself the walk descends, equation by equation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.nonfinite.births import Birth, Cell, Place
from gradscope.nonfinite.causality import Verdict
from gradscope.nonfinite.values import Kind, survey
from gradscope.nonfinite.walk import Surroundings, Walk
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted, Entry, Inside

MOST_DESCENTS = 64
"""Steps of one loop that are walked equation by equation; later ones inherit from those."""


class Stepper:
    """Runs one step after the other and carries the blame along."""

    def __init__(self, walk: Walk, body: Body, place: Place, carry: int) -> None:
        self._walk = walk
        self._body = body
        self._place = place
        self._carry = carry
        self._step = jaxprs.compiled(body)
        self._known: dict[tuple[int, Kind], Birth] = {}
        self._descents = 0

    def __call__(self, cells: list[Cell], consts: int, number: int) -> list[Cell]:
        """The results of one step, the carried ones first; `number` is that of the forward loop."""

        def run(values: list[Any]) -> list[Any]:
            return self._step(*values)

        place = replace(self._place, steps=(*self._place.steps, number))
        outs = self._walk.surveyed(run([cell.value for cell in cells]), cells, place)
        descent = _Descent(self, cells, outs, number)
        blamed = self._walk.blamed(
            run, cells, outs, descent, like=lambda out: consts + out if out < self._carry else None
        )
        for out, cell in enumerate(blamed):
            for kind, birth in cell.blame.items():
                self._known.setdefault((out, kind), birth)
        return descent.traced(blamed)

    def descend(self, cells: list[Cell], number: int) -> list[Cell] | None:
        if self._descents == MOST_DESCENTS:
            return None
        self._descents += 1
        around = Surroundings(self._place.calls, self._place.steps, self._place.backward)
        return self._walk.run(self._body, cells, around.inside(self._place, number))

    def born(self, cells: list[Cell], outs: list[Cell], out: int, kind: Kind, found: Verdict) -> Birth:
        """The step itself, where walking through it did not show more."""
        known = self._known.get((out, kind))
        return known or self._walk.birth(self._place, cells, outs, out, kind, found)


@dataclass
class _Descent:
    """Walks through one step when first asked, for all of its results."""

    stepper: Stepper
    cells: list[Cell]
    outs: list[Cell]
    number: int
    walked: list[Cell] | None = None

    def __call__(self, out: int, kind: Kind, found: Verdict) -> Birth:
        if self.walked is None:
            self.walked = self.stepper.descend(self.cells, self.number)
        blame = self.walked[out].blame if self.walked is not None else {}
        return blame.get(kind) or self.stepper.born(self.cells, self.outs, out, kind, found)

    def traced(self, blamed: list[Cell]) -> list[Cell]:
        """With the history of the walk, which is finer than that of the step."""
        if self.walked is None:
            return blamed
        return [replace(out, trace=fine.trace) for out, fine in zip(blamed, self.walked, strict=True)]


def walk_loop(walk: Walk, eqn: JaxprEqn, inside: Inside, cells: list[Cell], place: Place) -> list[Cell]:
    """The results of a loop, step by step where the loop as a whole gives something bad."""
    whole = _whole(walk, eqn, cells, place)
    if inside.loop is None or not any(out.survey.kinds for out in whole):
        return whole
    (entry,) = inside.entries
    if isinstance(inside.loop, Counted):
        blames = _steps(walk, entry, inside.loop, cells, place)
    else:
        blames = _turns(walk, entry, inside.loop.condition, cells, place)
    return _with_blame(walk, cells, whole, place, blames)


def _steps(
    walk: Walk, entry: Entry, loop: Counted, cells: list[Cell], place: Place
) -> list[dict[Kind, Birth]]:
    """By result, the blame after a loop of known length; of stacked results that of any step."""
    ins = [cells[operand] for operand in entry.operands]
    consts, rows = ins[: entry.carried.start], ins[entry.carried.stop :]
    carry, count = ins[entry.carried.start : entry.carried.stop], len(entry.carried)
    stepper = Stepper(walk, entry.body, place, count)
    stacked: list[dict[Kind, Birth]] = [{} for _ in entry.body.jaxpr.outvars[count:]]
    for done in range(loop.length):
        index = loop.length - 1 - done if loop.reverse else done
        number = loop.length - 1 - done if place.backward else done
        outs = stepper([*consts, *carry, *(_row(cell, index) for cell in rows)], len(consts), number)
        carry = outs[:count]
        for known, out in zip(stacked, outs[count:], strict=True):
            known.update({kind: birth for kind, birth in out.blame.items() if kind not in known})
    return [*(dict(out.blame) for out in carry), *stacked]


def _turns(
    walk: Walk, entry: Entry, condition: Entry, cells: list[Cell], place: Place
) -> list[dict[Kind, Birth]]:
    """By result, the blame after a loop that turns as often as its condition says."""
    ins = [cells[operand] for operand in entry.operands]
    consts, carry = ins[: entry.carried.start], ins[entry.carried.start :]
    asked = [cells[operand] for operand in condition.operands][: len(condition.operands) - len(carry)]
    goes_on = jaxprs.compiled(condition.body)
    stepper = Stepper(walk, entry.body, place, len(carry))
    number = 0
    while bool(goes_on(*(cell.value for cell in [*asked, *carry]))[0]):
        carry = stepper([*consts, *carry], len(consts), number)
        number += 1
    return [dict(out.blame) for out in carry]


def _whole(walk: Walk, eqn: JaxprEqn, cells: list[Cell], place: Place) -> list[Cell]:
    return walk.surveyed(jaxprs.run_equation(eqn, [cell.value for cell in cells]), cells, place)


def _with_blame(
    walk: Walk, cells: list[Cell], whole: list[Cell], place: Place, blames: list[dict[Kind, Birth]]
) -> list[Cell]:
    """A kind that did not come up step by step (the whole loop rounds otherwise) is blamed on the loop."""
    found = []
    for out, (cell, blame) in enumerate(zip(whole, blames, strict=True)):
        for kind in cell.survey.kinds:
            if kind not in blame:
                other = next(iter(blame.values()), None)
                verdict = Verdict((0,) * np.ndim(cell.value), None)
                blame[kind] = other or walk.birth(place, cells, whole, out, kind, verdict)
        found.append(replace(cell, blame={kind: blame[kind] for kind in cell.survey.kinds}))
    return found


@jax.jit
def _taken(value: Any, index: Any) -> Any:
    return lax.dynamic_index_in_dim(value, index, 0, keepdims=False)


def _row(cell: Cell, index: int) -> Cell:
    value = _taken(cell.value, index)
    if not cell.survey.kinds:
        return replace(cell, value=value)
    found = survey(value)
    return Cell(value, found, {kind: cell.blame[kind] for kind in found.kinds}, cell.trace)

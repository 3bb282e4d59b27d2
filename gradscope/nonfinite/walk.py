"""Runs a jaxpr equation by equation and says of every bad value where it was born.

Functions that are called (`jit`, remat, custom rules, the branch taken of a `cond`) are entered as if they
were written out; loops are in `loops.py`. A value is let go after its last use, as JAX itself does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.nonfinite.births import CONSTANT, Birth, Cell, Place, Trace
from gradscope.nonfinite.causality import Run, Trial, Verdict
from gradscope.nonfinite.values import Kind, element, kind_of, survey
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Inside
from gradscope.trace.nested.registry import inside

MOVES = frozenset(
    {"reshape", "transpose", "squeeze", "expand_dims", "copy", "copy_p", "broadcast_in_dim", "rev"}
    | {"slice", "stop_gradient", "name", "optimization_barrier"}
)
"""Of one operand, with nothing computed."""
PRINTS = frozenset({"debug_callback", "debug_print"})
"""Not run again: the user has seen what they print."""

LoopRule = Callable[["Walk", JaxprEqn, Inside, "list[Cell]", Place], "list[Cell]"]
"""Steps through a loop; `find.py` hands `Walk` the one of `loops.py`, which needs `Walk` itself."""


@dataclass(frozen=True)
class Surroundings:
    """What equations of one body share."""

    calls: tuple[JaxprEqn, ...] = ()
    steps: tuple[int, ...] = ()
    backward: bool = False

    def inside(self, place: Place, step: int | None = None) -> Surroundings:
        """Those of the body that the equation at this place carries."""
        steps = self.steps if step is None else (*self.steps, step)
        return Surroundings((place.eqn, *self.calls), steps, place.backward)


class Walk:
    """One walk; `clock` orders births by execution."""

    def __init__(self, forward: dict[int, set[str]], loop: LoopRule) -> None:
        """`forward`: by `jaxprs.made_at`, the primitives of the program that was differentiated."""
        self._forward = forward
        self._loop = loop
        self.clock = itertools.count()
        self._ran = itertools.count()

    def run(self, body: Body, args: Sequence[Cell], around: Surroundings) -> list[Cell]:
        env: dict[Any, Cell] = dict(zip(body.jaxpr.constvars, map(self.constant, body.consts), strict=True))
        env.update(zip(body.jaxpr.invars, args, strict=True))
        last = _last_uses(body)
        met: set[tuple[int, str]] = set()
        for number, eqn in enumerate(body.eqns):
            cells = [self._read(env, atom, eqn, around) for atom in eqn.invars]
            outs = self._equation(eqn, cells, self._place(eqn, around, met))
            env.update(zip(eqn.outvars, outs, strict=True))
            for var in last.get(number, ()):
                env.pop(var, None)
        return [self._read(env, atom, None, around) for atom in body.jaxpr.outvars]

    def constant(self, value: Any) -> Cell:
        found = survey(value)
        about = {"elements": found.bad, "shape": np.shape(value)}
        births = {kind: Birth(-1, kind, None, CONSTANT, **about) for kind in found.kinds}
        return Cell(value, found, births)

    def _read(self, env: dict[Any, Cell], atom: Any, eqn: JaxprEqn | None, around: Surroundings) -> Cell:
        cell = self.constant(np.asarray(atom.val, atom.aval.dtype)) if jaxprs.is_literal(atom) else env[atom]
        if eqn is None or not any(birth.was_there and birth.place is None for birth in cell.blame.values()):
            return cell
        place = Place(eqn, around.calls, around.steps, around.backward)
        blame = {k: replace(b, place=b.place or place) if b.was_there else b for k, b in cell.blame.items()}
        return replace(cell, blame=blame)

    def _place(self, eqn: JaxprEqn, around: Surroundings, met: set[tuple[int, str]]) -> Place:
        """An operation comes before its own derivative, so the first of its name is the operation itself."""
        backward = around.backward or jaxprs.is_transposed(eqn)
        name, key = eqn.primitive.name, jaxprs.made_at(eqn)
        forward = not backward or jaxprs.is_rematerialized(eqn)
        primal = forward and name in self._forward.get(key, ()) and (key, name) not in met
        met.add((key, name))
        return Place(eqn, around.calls, around.steps, backward, primal)

    def _equation(self, eqn: JaxprEqn, cells: list[Cell], place: Place) -> list[Cell]:
        carried = inside(eqn)
        if eqn.primitive.name in PRINTS:
            return []
        if carried is None or carried.shards is not None:
            return self.plain(eqn, cells, place)
        if carried.loop is not None:
            return self._loop(self, eqn, carried, cells, place)
        entry = carried.chosen([cell.value for cell in cells])
        around = Surroundings(place.calls, place.steps, place.backward)
        return self.run(entry.body, [cells[operand] for operand in entry.operands], around.inside(place))

    def plain(self, eqn: JaxprEqn, cells: list[Cell], place: Place) -> list[Cell]:
        """Run as it is, whatever it carries."""

        def run(values: list[Any]) -> list[Any]:
            return jaxprs.run_equation(eqn, values)

        outs = self.surveyed(run([cell.value for cell in cells]), cells, place)

        def born(out: int, kind: Kind, found: Verdict) -> Birth:
            return self.birth(place, cells, outs, out, kind, found)

        return self.blamed(run, cells, outs, born, moves=eqn.primitive.name in MOVES)

    def surveyed(self, values: Sequence[Any], cells: Sequence[Cell], place: Place) -> list[Cell]:
        traces = tuple(cell.trace for cell in cells if cell.trace is not None)
        surveys = [survey(value) for value in values]
        number = next(self._ran)
        return [
            Cell(value, found, {}, Trace(place, found, traces, number))
            for value, found in zip(values, surveys, strict=True)
        ]

    def blamed(
        self,
        run: Run,
        cells: Sequence[Cell],
        outs: list[Cell],
        born: Callable[[int, Kind, Verdict], Birth],
        *,
        moves: bool = False,
        like: Callable[[int], int | None] = lambda out: None,
    ) -> list[Cell]:
        """The results with their blame; `born` is asked where the operation itself is the cause."""
        if not any(out.survey.kinds for out in outs):
            return outs
        trial = Trial(run, cells, outs, moves=moves)
        blamed = []
        for number, out in enumerate(outs):
            blame = {}
            for kind in out.survey.kinds:
                verdict = trial.verdict(number, kind, like(number))
                suspect = verdict.suspect
                inherited = suspect is not None and (kind is not Kind.NAN or suspect.kind is Kind.NAN)
                blame[kind] = (
                    suspect.birth if suspect is not None and inherited else born(number, kind, verdict)
                )
            blamed.append(replace(out, blame=blame) if blame else out)
        return blamed

    def birth(
        self, place: Place, cells: Sequence[Cell], outs: Sequence[Cell], out: int, kind: Kind, found: Verdict
    ) -> Birth:
        value = outs[out].value
        shape = np.shape(value)
        operands = [element(cell.value, found.index, shape) for cell in cells]
        if found.suspect is not None:
            # Where the operation is not elementwise the operand's infinity is what matters, not its largest.
            bad = found.suspect.operand
            if kind_of(operands[bad]) is None:
                operands[bad] = float(found.suspect.kind)
        return Birth(
            order=next(self.clock),
            kind=kind,
            place=place,
            operands=tuple(operands),
            result=float(kind),
            index=found.index,
            elements=outs[out].survey.bad,
            shape=shape,
            dtype=str(value.dtype),
            cause=found.suspect.birth if found.suspect is not None else None,
            trace=outs[out].trace,
            operand_traces=tuple(cell.trace for cell in cells),
        )


def _last_uses(body: Body) -> dict[int, list[Any]]:
    """By number of an equation, the variables that nothing after it reads."""
    kept = {var for var in body.jaxpr.outvars if not jaxprs.is_literal(var)}
    last: dict[Any, int] = {}
    for number, eqn in enumerate(body.eqns):
        for atom in (*eqn.invars, *eqn.outvars):
            if not jaxprs.is_literal(atom) and atom not in kept:
                last[atom] = number
    found: dict[int, list[Any]] = {}
    for var, number in last.items():
        found.setdefault(number, []).append(var)
    return found

"""Runs a jaxpr equation by equation, and records the origin of every non-finite value.

Functions that are called (`jit`, remat, custom rules, the branch taken of a `cond`) are entered as if they
were written out; loops are in `loops.py`. A value is released after its last use, as JAX itself does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.nonfinite.causality import Attribution, CausalityTest, Run
from gradscope.nonfinite.nonfinite_origin import CONSTANT, Cell, NonFiniteOrigin, Occurrence, Trace
from gradscope.nonfinite.values import NonFiniteKind, element, kind_of, range_of
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Inside
from gradscope.trace.nested.registry import inside

MOVES = frozenset(
    {"reshape", "transpose", "squeeze", "copy", "broadcast_in_dim", "rev"}
    | {"slice", "stop_gradient", "name", "optimization_barrier"}
)
"""Of one operand, with nothing computed."""
PRINTS = frozenset({"debug_callback", "debug_print"})
"""Not run again: the user has seen what they print."""

LoopRule = Callable[["Walk", JaxprEqn, Inside, "list[Cell]", Occurrence], "list[Cell]"]
"""Steps through a loop; `find.py` hands `Walk` the one of `loops.py`, which needs `Walk` itself."""


@dataclass(frozen=True)
class Surroundings:
    """What equations of one body share."""

    calls: tuple[JaxprEqn, ...] = ()
    steps: tuple[int, ...] = ()
    backward: bool = False

    def inside(self, occurrence: Occurrence, step: int | None = None) -> Surroundings:
        """Those of the body that the equation at this place carries."""
        steps = self.steps if step is None else (*self.steps, step)
        return Surroundings((occurrence.eqn, *self.calls), steps, occurrence.backward)


class Walk:
    """One walk; `clock` orders origins by execution."""

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
            outs = self._equation(eqn, cells, self._occurrence(eqn, around, met))
            env.update(zip(eqn.outvars, outs, strict=True))
            for var in last.get(number, ()):
                env.pop(var, None)
        return [self._read(env, atom, None, around) for atom in body.jaxpr.outvars]

    def constant(self, value: Any) -> Cell:
        found = range_of(value)
        about = {"elements": found.bad, "shape": np.shape(value)}
        origins = {kind: NonFiniteOrigin(-1, kind, None, CONSTANT, **about) for kind in found.kinds}
        return Cell(value, found, origins)

    def _read(self, env: dict[Any, Cell], atom: Any, eqn: JaxprEqn | None, around: Surroundings) -> Cell:
        cell = self.constant(np.asarray(atom.val, atom.aval.dtype)) if jaxprs.is_literal(atom) else env[atom]
        if eqn is None or not any(
            origin.preexisting and origin.occurrence is None for origin in cell.blame.values()
        ):
            return cell
        occurrence = Occurrence(eqn, around.calls, around.steps, around.backward)
        blame = {
            k: replace(b, occurrence=b.occurrence or occurrence) if b.preexisting else b
            for k, b in cell.blame.items()
        }
        return replace(cell, blame=blame)

    def _occurrence(self, eqn: JaxprEqn, around: Surroundings, met: set[tuple[int, str]]) -> Occurrence:
        """An operation comes before its own derivative, so the first of its name is the operation itself."""
        backward = around.backward or jaxprs.is_transposed(eqn)
        name, key = eqn.primitive.name, jaxprs.made_at(eqn)
        forward = not backward or jaxprs.is_rematerialized(eqn)
        primal = forward and name in self._forward.get(key, ()) and (key, name) not in met
        met.add((key, name))
        return Occurrence(eqn, around.calls, around.steps, backward, primal)

    def _equation(self, eqn: JaxprEqn, cells: list[Cell], occurrence: Occurrence) -> list[Cell]:
        carried = inside(eqn)
        if eqn.primitive.name in PRINTS:
            return []
        if carried is None or carried.shards is not None:
            return self.plain(eqn, cells, occurrence)
        if carried.loop is not None:
            return self._loop(self, eqn, carried, cells, occurrence)
        entry = carried.chosen([cell.value for cell in cells])
        around = Surroundings(occurrence.calls, occurrence.steps, occurrence.backward)
        return self.run(entry.body, [cells[operand] for operand in entry.operands], around.inside(occurrence))

    def plain(self, eqn: JaxprEqn, cells: list[Cell], occurrence: Occurrence) -> list[Cell]:
        """Runs the equation as it is, whatever it carries."""

        carried = inside(eqn)
        # On a mesh each operation of the body would be compiled by itself, for every run anew.
        step = jaxprs.as_compiled(eqn) if carried is not None and carried.shards is not None else None

        def run(values: list[Any]) -> list[Any]:
            return jaxprs.run_equation(eqn, values) if step is None else list(step(*values))

        outs = self.with_ranges(run([cell.value for cell in cells]), cells, occurrence)

        def origin_here(out: int, kind: NonFiniteKind, found: Attribution) -> NonFiniteOrigin:
            return self.origin(occurrence, cells, outs, out, kind, found)

        return self.blamed(run, cells, outs, origin_here, moves=eqn.primitive.name in MOVES)

    def with_ranges(self, values: Sequence[Any], cells: Sequence[Cell], occurrence: Occurrence) -> list[Cell]:
        traces = tuple(cell.trace for cell in cells if cell.trace is not None)
        ranges = [range_of(value) for value in values]
        number = next(self._ran)
        return [
            Cell(value, found, {}, Trace(occurrence, found, traces, number))
            for value, found in zip(values, ranges, strict=True)
        ]

    def blamed(
        self,
        run: Run,
        cells: Sequence[Cell],
        outs: list[Cell],
        origin_here: Callable[[int, NonFiniteKind, Attribution], NonFiniteOrigin],
        *,
        moves: bool = False,
        like: Callable[[int], int | None] = lambda out: None,
    ) -> list[Cell]:
        """The results with their origins; `origin_here` gives that of the operation itself."""
        if not any(out.value_range.kinds for out in outs):
            return outs
        test = CausalityTest(run, cells, outs, moves=moves)
        blamed = []
        for number, out in enumerate(outs):
            blame = {}
            for kind in out.value_range.kinds:
                attribution = test.attribution(number, kind, like(number))
                suspect = attribution.suspect
                inherited = suspect is not None and (
                    kind is not NonFiniteKind.NAN or suspect.kind is NonFiniteKind.NAN
                )
                blame[kind] = (
                    suspect.origin
                    if suspect is not None and inherited
                    else origin_here(number, kind, attribution)
                )
            blamed.append(replace(out, blame=blame) if blame else out)
        return blamed

    def origin(
        self,
        occurrence: Occurrence,
        cells: Sequence[Cell],
        outs: Sequence[Cell],
        out: int,
        kind: NonFiniteKind,
        found: Attribution,
    ) -> NonFiniteOrigin:
        value = outs[out].value
        shape = np.shape(value)
        operands = [element(cell.value, found.index, shape) for cell in cells]
        if found.suspect is not None:
            # Where the operation is not elementwise the operand's infinity is what matters, not its largest.
            bad = found.suspect.operand
            if kind_of(operands[bad]) is None:
                operands[bad] = float(found.suspect.kind)
        return NonFiniteOrigin(
            order=next(self.clock),
            kind=kind,
            occurrence=occurrence,
            operands=tuple(operands),
            result=float(kind),
            index=found.index,
            elements=outs[out].value_range.bad,
            shape=shape,
            dtype=str(value.dtype),
            cause=found.suspect.origin if found.suspect is not None else None,
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

"""Which equation made an array that backward needs, and which reads it: through calls, loops, branches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jax.extend.core import JaxprEqn, Var

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted, Entry, Inside
from gradscope.trace.nested.registry import inside

Calls = tuple[JaxprEqn, ...]
"""The equations around one, innermost first."""


@dataclass(frozen=True)
class Spotted:
    """An equation at any depth."""

    eqn: JaxprEqn
    calls: Calls
    steps: int = 1
    """Of loops that stack what it makes."""


@dataclass(frozen=True)
class Enclosed:
    """A program, or one that an equation of another carries."""

    body: Body
    calls: Calls = ()
    outer: Enclosed | None = None
    entry: Entry | None = None

    def below(self, eqn: JaxprEqn, entry: Entry) -> Enclosed:
        return Enclosed(entry.body, (eqn, *self.calls), self, entry)


Makers = dict[int, dict[Any, JaxprEqn]]


class Origins:
    """Of the variables of one program."""

    def __init__(self, body: Body) -> None:
        self._top = Enclosed(body)
        self._makers: Makers = {}

    def maker(self, var: Any) -> Spotted | None:
        """The equation whose result a variable of the program is; `None` for an input, a constant, or a
        literal."""
        return self._maker(self._top, var)

    def _maker(self, level: Enclosed, atom: Any, turns: int = 0) -> Spotted | None:
        if not isinstance(atom, Var):
            return None
        eqn = self._made_in(level.body).get(atom)
        if eqn is None:
            return self._from_outside(level, atom, turns)
        carried = inside(eqn)
        if carried is None or carried.own_rule:
            return Spotted(eqn, level.calls)
        place = eqn.outvars.index(atom)
        steps = _stacked(carried, place)
        for entry in carried.entries:
            found = self._maker(level.below(eqn, entry), entry.body.jaxpr.outvars[place], turns)
            # A branch gives zeros for what only the other ones keep.
            if found is not None and not (len(carried.entries) > 1 and _is_constant(found.eqn)):
                return replace(found, steps=found.steps * steps)
        # An input that is handed through is none of its own; a loop stacks a copy of it for each step.
        return Spotted(eqn, level.calls, steps) if steps > 1 else None

    def _from_outside(self, level: Enclosed, var: Any, turns: int) -> Spotted | None:
        """An input of what an equation carries; that of a loop's step is what the step before made."""
        entry, outer = level.entry, level.outer
        if entry is None or outer is None or var not in entry.body.jaxpr.invars:
            return None
        place = entry.body.jaxpr.invars.index(var)
        if place in entry.carried and turns < 1:
            made = entry.body.jaxpr.outvars[place - entry.carried.start]
            found = self._maker(level, made, turns + 1)
            if found is not None:
                return found
        return self._maker(outer, level.calls[0].invars[entry.operands[place]], turns)

    def _made_in(self, body: Body) -> dict[Any, JaxprEqn]:
        if id(body.jaxpr) not in self._makers:
            self._makers[id(body.jaxpr)] = {var: eqn for eqn in body.eqns for var in eqn.outvars}
        return self._makers[id(body.jaxpr)]


def _stacked(carried: Inside, place: int) -> int:
    """The steps of the loop whose rows result `place` holds, or 1."""
    rows = isinstance(carried.loop, Counted) and place >= len(carried.entries[0].carried)
    return carried.loop.length if rows and isinstance(carried.loop, Counted) else 1


def _is_constant(eqn: JaxprEqn) -> bool:
    """A number in every element, which no branch has to compute."""
    filled = eqn.primitive.name == "broadcast_in_dim" and getattr(eqn.invars[0].aval, "ndim", 0) == 0
    return filled or all(jaxprs.is_literal(atom) for atom in eqn.invars)


def reader(body: Body, var: Any) -> Spotted | None:
    """The first equation that computes with a variable of the program; `None` where none does."""
    return _reader(body, {var}, ())


def _reader(body: Body, wanted: set[Any], calls: Calls) -> Spotted | None:
    for eqn in body.eqns:
        places = [place for place, atom in enumerate(eqn.invars) if isinstance(atom, Var) and atom in wanted]
        if not places:
            continue
        carried = inside(eqn)
        if carried is None or carried.own_rule or carried.chosen_by in places:
            return Spotted(eqn, calls)
        for entry in carried.entries:
            inputs = zip(entry.operands, entry.body.jaxpr.invars, strict=True)
            below = {var for operand, var in inputs if operand in places}
            found = _reader(entry.body, below, (eqn, *calls))
            if found is not None:
                return found
        if carried.calls:  # handed through: what it gives is read further on
            entry = carried.entries[0]
            given = {
                entry.body.jaxpr.invars[i] for i, operand in enumerate(entry.operands) if operand in places
            }
            outs = zip(entry.body.jaxpr.outvars, eqn.outvars, strict=True)
            wanted = wanted | {out for made, out in outs if isinstance(made, Var) and made in given}
    return None

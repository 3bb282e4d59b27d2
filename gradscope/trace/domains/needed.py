"""Which results of each equation the outputs have a gradient from: the one question that is asked backward.

It takes the jaxprs that an equation carries, and how values get in and out, from `nested`, and goes round a
loop as `walk` does; only the order is the other one.
"""

from __future__ import annotations

from collections.abc import Sequence

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Entry
from gradscope.trace.nested.registry import inside
from gradscope.trace.vocabulary import is_real
from gradscope.trace.walk import Path, until_settled


class Needed:
    def __init__(self) -> None:
        self.outs: dict[Path, list[bool]] = {}
        """Of every equation that is met, by result, joined over all visits."""

    def run(self, body: Body, outs: Sequence[bool], path: Path = ()) -> list[bool]:
        """Which inputs of `body` the outputs at `outs` have a gradient from."""
        wanted = {
            atom
            for atom, needed in zip(body.jaxpr.outvars, outs, strict=True)
            if needed and not jaxprs.is_literal(atom)
        }
        for index, eqn in reversed(list(enumerate(body.eqns))):
            at = (*path, index)
            values = [var in wanted for var in eqn.outvars]
            before = self.outs.get(at, [False] * len(values))
            self.outs[at] = [a or b for a, b in zip(before, values, strict=True)]
            if any(values) and eqn.primitive.name != "stop_gradient":
                wanted |= {
                    atom
                    for atom, needed in zip(eqn.invars, self._operands(eqn, values, at), strict=True)
                    if needed and not jaxprs.is_literal(atom) and is_real(atom.aval)
                }
        return [var in wanted for var in body.jaxpr.invars]

    def _operands(self, eqn: JaxprEqn, outs: list[bool], at: Path) -> list[bool]:
        carried = inside(eqn)
        if carried is None or carried.shards is not None:
            return [True] * len(eqn.invars)
        found = [False] * len(eqn.invars)
        for entry in carried.entries:
            for operand, needed in zip(entry.operands, self._inputs(entry, outs, at), strict=True):
                found[operand] |= needed
        # A rule may do as it likes, whatever the function does that it stands for.
        return [True] * len(found) if carried.own_rule else found

    def _inputs(self, entry: Entry, outs: list[bool], at: Path) -> list[bool]:
        where = entry.carried

        def turn(carried: list[bool]) -> tuple[list[bool], list[bool]]:
            ins = self.run(entry.body, [*carried, *outs[len(where) :]], (*at, entry.number))
            return ins, ins[where.start : where.stop]

        ins, _ = until_settled(turn, outs[: len(where)], lambda a, b, _: a or b, bool.__eq__)
        return ins

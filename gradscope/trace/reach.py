"""What a jaxpr's dataflow says without running it: which values come from which, and which are needed.

Sets of bits go forward through a program, and "is needed" goes back. Both enter what `forward` enters and
go round a loop until nothing changes; any other equation joins its operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.forward import CALLS, Path, bodies
from gradscope.trace.jaxprs import Body
from gradscope.trace.vocabulary import CUSTOM, is_real


class Reach:
    """From inputs forward. This one follows gradients: through real values, and not past a stop_gradient."""

    def __init__(self) -> None:
        self.ins: dict[Path, list[int]] = {}
        """The bits of every equation's operands, joined over all visits."""

    def through(self, eqn: JaxprEqn, ins: list[int]) -> list[int]:
        """The bits of the results of an equation that is not entered, or that has a rule of its own."""
        found = 0 if eqn.primitive.name == "stop_gradient" else _join(ins)
        return [found if is_real(var.aval) else 0 for var in eqn.outvars]

    def result(self, eqn: JaxprEqn, ins: list[int], inside: list[int]) -> list[int]:
        """The bits of the results of an equation whose body gave `inside`: a rule may do as it likes."""
        return self.through(eqn, ins) if eqn.primitive.name in CUSTOM else inside

    def run(self, body: Body, ins: Sequence[int], path: Path = ()) -> list[int]:
        known = dict.fromkeys(body.jaxpr.constvars, 0)
        known.update(zip(body.jaxpr.invars, ins, strict=True))

        def read(atom: object) -> int:
            return 0 if jaxprs.is_literal(atom) else known[atom]

        for index, eqn in enumerate(body.eqns):
            at = (*path, index)
            values = [read(atom) for atom in eqn.invars]
            before = self.ins.get(at, [0] * len(values))
            self.ins[at] = [a | b for a, b in zip(before, values, strict=True)]
            inner = bodies(eqn)
            outs = self.result(eqn, values, self._enter(eqn, values, at)) if inner else None
            known.update(zip(eqn.outvars, self.through(eqn, values) if outs is None else outs, strict=True))
        return [read(atom) for atom in body.jaxpr.outvars]

    def _enter(self, eqn: JaxprEqn, values: list[int], at: Path) -> list[int]:
        name, inner = eqn.primitive.name, bodies(eqn)
        if name in CALLS:
            return self.run(inner[0], values, (*at, 0))
        if name == "cond":
            ways = [self.run(body, values[1:], (*at, number)) for number, body in enumerate(inner)]
            return [_join(list(bits)) for bits in zip(*ways, strict=True)]
        skip, consts, carry = loop_parts(eqn)
        values = values[skip:]
        while True:
            outs = self.run(inner[0], values, (*at, 0))
            merged = list(values)
            for i in range(carry):
                merged[consts + i] |= outs[i]
            if merged == values:
                return outs
            values = merged


class Needed:
    """From outputs back: which results of each equation the outputs have a gradient from."""

    def __init__(self) -> None:
        self.outs: dict[Path, list[bool]] = {}

    def run(self, body: Body, outs: Sequence[bool], path: Path = ()) -> list[bool]:
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
                ins = self._enter(eqn, values, at)
                wanted |= {
                    atom
                    for atom, needed in zip(eqn.invars, ins, strict=True)
                    if needed and not jaxprs.is_literal(atom) and is_real(atom.aval)
                }
        return [var in wanted for var in body.jaxpr.invars]

    def _enter(self, eqn: JaxprEqn, outs: list[bool], at: Path) -> list[bool]:
        name, inner = eqn.primitive.name, bodies(eqn)
        if name == "cond":
            ways = [self.run(body, outs, (*at, number)) for number, body in enumerate(inner)]
            return [False, *(any(flags) for flags in zip(*ways, strict=True))]
        if name in CALLS and inner:
            found = self.run(inner[0], outs, (*at, 0))
            return [True] * len(found) if name in CUSTOM else found
        if not inner:
            return [True] * len(eqn.invars)
        skip, consts, carry = loop_parts(eqn)
        while True:
            ins = self.run(inner[0], outs, (*at, 0))
            merged = [a or b for a, b in zip(outs[:carry], ins[consts : consts + carry], strict=True)]
            if merged == outs[:carry]:
                return [False] * skip + ins
            outs = [*merged, *outs[carry:]]


def loop_parts(eqn: JaxprEqn) -> tuple[int, int, int]:
    """Of the operands of a `scan` or `while`: those of the condition, the constants, the carried ones."""
    if eqn.primitive.name == "scan":
        scan = jaxprs.scan_params(eqn)
        return 0, scan.consts, scan.carry
    loop = jaxprs.while_params(eqn)
    carry = len(eqn.invars) - loop.condition_consts - loop.body_consts
    return loop.condition_consts, loop.body_consts, carry


def is_integer(aval: Any) -> bool:
    """An integer or boolean array."""
    kinds = (jnp.integer, jnp.bool_)
    return hasattr(aval, "dtype") and any(jnp.issubdtype(aval.dtype, kind) for kind in kinds)


def _join(bits: Sequence[int]) -> int:
    found = 0
    for each in bits:
        found |= each
    return found

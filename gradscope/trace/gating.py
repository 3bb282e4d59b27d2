"""Whether a loop over time carries its state through a gate: `f * c + ...` with f between 0 and 1.

Such a cell forgets as fast as its gates are closed, and they open in training; a plain recurrence forgets by
its weights. Read from the loop's body with three marks, equation by equation: GATE is a value of a sigmoid
or an exponential, LINEAR a sum with a carried state in it, KEPT a gate times such a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jax_compat
from gradscope.trace.jax_compat import Body
from gradscope.trace.vocabulary import PARTS, VIEWS, activation

GATES = frozenset({"logistic", "hard_sigmoid"})
_HANDS_ON = VIEWS | PARTS | {"concatenate", "select_n", "pad", "neg", "clamp"}


@dataclass(frozen=True)
class Mark:
    """What one value of the body is; states are bits."""

    gate: bool = False
    linear: int = 0
    kept: int = 0


NONE = Mark()


def is_gated(eqn: JaxprEqn) -> bool:
    """For a `scan`: does one of its carried states come back as what a gate has let through of it?"""
    scan = jax_compat.scan_params(eqn)
    states = [Mark(linear=1 << place) for place in range(scan.carry)]
    rest = len(scan.body.jaxpr.invars) - scan.consts - scan.carry
    outs = _walk(scan.body, [*[NONE] * scan.consts, *states, *[NONE] * rest])
    return any(out.kept & 1 << place for place, out in enumerate(outs[: scan.carry]))


def _walk(body: Body, marks: list[Mark]) -> list[Mark]:
    known: dict[Any, Mark] = dict(zip(body.jaxpr.invars, marks, strict=True))

    def read(atom: Any) -> Mark:
        return NONE if jax_compat.is_literal(atom) else known.get(atom, NONE)

    for eqn in body.eqns:
        ins = [read(atom) for atom in eqn.invars]
        outs = _of_equation(eqn, ins)
        known.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in body.jaxpr.outvars]


def _of_equation(eqn: JaxprEqn, ins: list[Mark]) -> list[Mark]:
    name = eqn.primitive.name
    if activation(eqn) in GATES or name == "exp":
        return [Mark(gate=True)] * len(eqn.outvars)
    inner = list(jax_compat.inner_bodies(eqn))
    if len(inner) == 1 and len(inner[0].jaxpr.invars) == len(ins):
        outs = _walk(inner[0], ins)
        return outs if len(outs) == len(eqn.outvars) else [NONE] * len(eqn.outvars)
    return [_of_value(eqn, name, ins)] * len(eqn.outvars)


def _of_value(eqn: JaxprEqn, name: str, ins: list[Mark]) -> Mark:
    if name == "mul":
        first, second = ins
        through = (second.linear | second.kept) * first.gate | (first.linear | first.kept) * second.gate
        return Mark(gate=first.gate and second.gate, kept=through)
    if name in ("add", "sub", "add_any") or name in _HANDS_ON:
        # `1 - z` of a gate is a gate, and so is one that is cut out of a wider array.
        alone = sum(jax_compat.is_literal(atom) for atom in eqn.invars) == len(ins) - 1
        gate = any(mark.gate for mark in ins) and (alone or name in _HANDS_ON)
        return Mark(gate, _union(mark.linear for mark in ins), _union(mark.kept for mark in ins))
    return NONE


def _union(bits: Any) -> int:
    found = 0
    for each in bits:
        found |= each
    return found

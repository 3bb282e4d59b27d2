"""Which states of a loop over time are carried through a gate: `f * c + ...` with f between 0 and 1.

Such a cell forgets as fast as its gates are closed, and they open in training; a plain recurrence forgets by
its weights. Read from the loop's body, equation by equation, with marks for what a value is made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.vocabulary import PARTS, PRODUCTS, VIEWS, activation

GATES = frozenset({"logistic", "hard_sigmoid"})
_HANDS_ON = VIEWS | PARTS | {"concatenate", "stack", "select_n", "pad", "neg", "clamp"}
_BOUNDS = frozenset({"rem", "max", "min"})
"""Wrapped round or bounded, a value stays what it is, unless two of them meet."""
_SUMS = frozenset({"add", "sub", "add_any", "reduce_sum"})


@dataclass(frozen=True)
class Mark:
    """What one value of the body is; states are bits."""

    gate: bool = False
    """A sigmoid or an exponential, whoever wrote it out."""
    squashed: bool = False
    """A tanh, which is a gate once a constant is added."""
    linear: int = 0
    """A sum with these states in it."""
    kept: int = 0
    """A gate times such a sum, and what is added to that."""
    made: int = 0
    """Made of such a value element by element: `o * tanh(c)`."""


NONE = Mark()


def gated_states(eqn: JaxprEqn) -> frozenset[int]:
    """Places among the carried states of a `scan` that a gate keeps, and those that are made of one.

    The output h = o * tanh(c) of an LSTM is carried, too, and lasts as long as the cell c. A state that has
    only its weights to remember by, beside another that is gated, is not among them.
    """
    outs = _after_a_step(eqn)
    kept = _union(out.kept & 1 << place for place, out in enumerate(outs))
    return frozenset(place for place, out in enumerate(outs) if kept & (1 << place | out.made))


def added_states(eqn: JaxprEqn) -> frozenset[int]:
    """Places among the carried states of a `scan` to which a step adds: `x + dt * v`, as in a simulation."""
    return frozenset(place for place, out in enumerate(_after_a_step(eqn)) if out.linear >> place & 1)


def _after_a_step(eqn: JaxprEqn) -> list[Mark]:
    """What the carried values are made of after one step."""
    scan = jaxprs.scan_params(eqn)
    states = [Mark(linear=1 << place) for place in range(scan.carry)]
    rest = len(scan.body.jaxpr.invars) - scan.consts - scan.carry
    return _walk(scan.body, [*[NONE] * scan.consts, *states, *[NONE] * rest])[: scan.carry]


def _walk(body: Body, marks: list[Mark]) -> list[Mark]:
    known: dict[Any, Mark] = dict(zip(body.jaxpr.invars, marks, strict=True))

    def read(atom: Any) -> Mark:
        return NONE if jaxprs.is_literal(atom) else known.get(atom, NONE)

    for eqn in body.eqns:
        known.update(zip(eqn.outvars, _of_equation(eqn, [read(atom) for atom in eqn.invars]), strict=True))
    return [read(atom) for atom in body.jaxpr.outvars]


def _of_equation(eqn: JaxprEqn, ins: list[Mark]) -> list[Mark]:
    name = eqn.primitive.name
    inner = list(jaxprs.inner_bodies(eqn))
    if activation(eqn) not in GATES and len(inner) == 1 and len(inner[0].jaxpr.invars) == len(ins):
        outs = _walk(inner[0], ins)
        return outs if len(outs) == len(eqn.outvars) else [NONE] * len(eqn.outvars)
    mark = _of_value(eqn, name, ins)
    made = 0 if name in PRODUCTS else _union(each.made | each.kept for each in ins)
    return [replace(mark, made=made)] * len(eqn.outvars)


def _of_value(eqn: JaxprEqn, name: str, ins: list[Mark]) -> Mark:
    if activation(eqn) in GATES or name == "exp":
        return Mark(gate=True)
    if name == "tanh":
        return Mark(squashed=True)
    # Beside a constant a value stays what it is: `1 - z`, `0.9 * h`, `1 / (1 + exp(-x))`.
    alone = sum(jaxprs.is_literal(atom) for atom in eqn.invars) == len(ins) - 1
    gate = any(mark.gate for mark in ins)
    squashed = any(mark.squashed for mark in ins)
    linear, kept = _union(mark.linear for mark in ins), _union(mark.kept for mark in ins)
    if name in _SUMS:
        return Mark(alone and (gate or squashed), False, linear, kept)
    if name in _HANDS_ON or (alone and name in ("mul", "div")):
        return Mark(gate, squashed, linear, kept)
    if name in _BOUNDS and len({mark for mark in ins if mark != NONE}) == 1:
        return Mark(gate, squashed, linear, kept)
    if name in ("mul", "div"):
        first, second = ins
        through = (first.linear | first.kept) * second.gate
        through |= (second.linear | second.kept) * first.gate * (name == "mul")
        return Mark(gate=first.gate and second.gate, kept=through)
    return NONE


def _union(bits: Iterable[int]) -> int:
    return reduce(or_, bits, 0)

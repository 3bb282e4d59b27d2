"""Whether a result of a program is one of its inputs with something added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.extend.core import Var

from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside
from gradscope.trace.vocabulary import VIEWS

ADDED = frozenset({"add", "sub", "add_any"})
_THROUGH = ADDED | VIEWS | {
    "mul", "div", "neg", "select_n", "max", "min", "clamp", "slice", "dynamic_slice", "split", "concatenate",
    "pad", "dynamic_update_slice", "scatter", "scatter-add",
}  # fmt: skip
"""Of which a result is still its operand, scaled, cut, joined or chosen."""


def _carries(eqn: Any) -> bool:
    """What a loop or a branch does with its operands is not looked at: it may add to any of them."""
    return inside(eqn) is not None


def sums_with(body: Body, inputs: Sequence[Any]) -> set[Any]:
    """Those of the inputs that the program adds something to anywhere, also where nothing reads the sum."""
    found: set[Any] = set()
    origin = {var: var for var in inputs}
    for eqn in body.eqns:
        own = [origin[atom] for atom in eqn.invars if isinstance(atom, Var) and atom in origin]
        if eqn.primitive.name in ADDED or _carries(eqn):
            found.update(own)
        elif eqn.primitive.name in ("convert_element_type", "mul", "copy", "reduce_precision") and own:
            origin.update(dict.fromkeys(eqn.outvars, own[0]))
    return found


def is_a_sum_with(body: Body, result: Any, given: Any) -> bool:
    """Whether `given` is among the terms of `result`."""
    made = {var: eqn for eqn in body.eqns for var in eqn.outvars}
    waiting, met = [result], set()
    while waiting:
        atom = waiting.pop()
        if not isinstance(atom, Var) or atom in met:
            continue
        met.add(atom)
        if atom is given:
            return True
        eqn = made.get(atom)
        if eqn is None:
            continue
        if eqn.primitive.name in _THROUGH or _carries(eqn):
            waiting.extend(eqn.invars)
    return False

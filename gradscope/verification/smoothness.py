"""Kinds of functions whose derivative is a matter of choice: those that jump, stop a gradient, or iterate."""

from __future__ import annotations

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.forward import bodies
from gradscope.trace.jaxprs import Body
from gradscope.trace.reach import Reach, is_integer, loop_parts
from gradscope.trace.vocabulary import NO_GRADIENT, is_real

CUTS = NO_GRADIENT - {"stop_gradient"} | {"argmax", "argmin", "nextafter", "reduce_precision"}
"""Operations whose result moves in jumps."""

_INDEXED = {"gather": 1, "dynamic_slice": 1, "select_n": 0, "scatter": 1, "scatter-add": 1, "scatter_add": 1}


class Jumps(Reach):
    """Which results of a function depend on each argument through a jump: rounding, a cast, a comparison.

    Bit `2 i` says that a value depends on argument `i`, bit `2 i + 1` that it does so through a jump.
    What only chooses (the predicate of `where`, an index) does not count.
    """

    def through(self, eqn: JaxprEqn, ins: list[int]) -> list[int]:
        name = eqn.primitive.name
        if name in _INDEXED:
            first = _INDEXED[name]
            chooses = [first] if not name.startswith(("gather", "dynamic")) else range(first, len(ins))
            ins = [bits for i, bits in enumerate(ins) if i not in chooses]
        found = 0
        for bits in ins:
            found |= bits
        jumped = found | (found & self.plain) << 1
        discrete = name in CUTS
        return [jumped if discrete or is_integer(var.aval) else found for var in eqn.outvars]

    def result(self, eqn: JaxprEqn, ins: list[int], inside: list[int]) -> list[int]:
        del eqn, ins
        return inside

    def __init__(self, count: int) -> None:
        super().__init__()
        self.plain = sum(1 << 2 * i for i in range(count))


def jumping(body: Body) -> tuple[bool, ...]:
    """By operand: the function depends on it through a jump, so that its derivative is a choice."""
    count = len(body.jaxpr.invars)
    outs = Jumps(count).run(body, [1 << 2 * i for i in range(count)])
    found = 0
    for var, bits in zip(body.jaxpr.outvars, outs, strict=True):
        found |= bits if is_real(var.aval) else 0
    return tuple(bool(found & 2 << 2 * i) for i in range(count))


def iterates(body: Body) -> bool:
    """A loop that looks for a fixed point: one that turns as often as it must, or takes nothing new in."""
    for eqn in body.eqns:
        if eqn.primitive.name == "while" or (eqn.primitive.name == "scan" and _closed(eqn)):
            return True
        if any(iterates(inner) for inner in jaxprs.inner_bodies(eqn)):
            return True
    return False


def _closed(eqn: JaxprEqn) -> bool:
    """No rows are scanned over, and the counter, if there is one, is only counted."""
    _, consts, carry = loop_parts(eqn)
    if len(eqn.invars) > consts + carry:
        return False
    body = bodies(eqn)[0]
    counters = {var for var in body.jaxpr.invars[consts:] if is_integer(var.aval)}
    readers = [inner for inner in body.eqns if counters.intersection(inner.invars)]
    return all(inner.primitive.name == "add" and inner.outvars[0] in body.jaxpr.outvars for inner in readers)


def stops(body: Body) -> bool:
    """A `stop_gradient` stands somewhere inside."""
    return any(
        eqn.primitive.name == "stop_gradient" or any(map(stops, jaxprs.inner_bodies(eqn)))
        for eqn in body.eqns
    )

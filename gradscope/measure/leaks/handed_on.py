"""Whether the state at the end of one loop over time begins another: an encoder that hands its code on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted
from gradscope.trace.nested.registry import inside


def hands_a_code_on(body: Body, length: int) -> bool:
    """The code has no axis of `length` positions: stacks of layers hand on whole sequences."""
    return _walk(body, [False] * len(body.jaxpr.invars), length)[1]


def _walk(body: Body, given: Sequence[bool], length: int) -> tuple[list[bool], bool]:
    """Which outputs come of such a state, and whether another loop was given one."""
    known: dict[Any, bool] = dict(zip(body.jaxpr.invars, given, strict=True))

    def of_state(atom: Any) -> bool:
        return not jaxprs.is_literal(atom) and known.get(atom, False)

    for eqn in body.eqns:
        ins = [of_state(atom) for atom in eqn.invars]
        outs = [any(ins)] * len(eqn.outvars)
        carried = inside(eqn)
        if carried is not None and carried.calls:
            entry = carried.entries[0]
            outs, handed = _walk(entry.body, [ins[operand] for operand in entry.operands], length)
            if handed:
                return outs, True
        elif carried is not None and isinstance(carried.loop, Counted):
            entry = carried.entries[0]
            whole = [operand for place, operand in enumerate(entry.operands) if place not in entry.rows]
            if any(ins[operand] for operand in whole):
                return outs, True
            for place in range(len(entry.carried)):
                aval: Any = eqn.outvars[place].aval
                outs[place] = outs[place] or (carried.loop.length > 1 and length not in aval.shape)
        known.update(zip(eqn.outvars, outs, strict=True))
    return [of_state(atom) for atom in body.jaxpr.outvars], False

"""Whether the state at the end of one loop over time begins another: an encoder that hands its code on."""

from __future__ import annotations

from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.bits import Bits
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted
from gradscope.trace.nested.registry import inside
from gradscope.trace.walk import Path, Visit, walk

CODE = 1
"""It comes of the last state of a loop."""


def hands_a_code_on(body: Body, length: int) -> bool:
    """The code has no axis of `length` positions: stacks of layers hand on whole sequences."""
    domain = _Codes(length)
    walk(domain, body, [0] * len(body.jaxpr.invars), ())
    return domain.handed_on


class _Codes(Bits):
    """Loops are not entered: the pieces in which one sequence is run are no encoder and decoder."""

    def __init__(self, length: int) -> None:
        self._length = length
        self.handed_on = False

    def enters(self, visit: Visit[int, Path]) -> bool:
        return visit.inside.calls

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        outs = [self.join(values)] * len(eqn.outvars)
        carried = inside(eqn)
        if carried is None or not isinstance(carried.loop, Counted):
            return outs
        (entry,) = carried.entries
        whole = [values[operand] for i, operand in enumerate(entry.operands) if i not in entry.rows]
        self.handed_on |= bool(self.join(whole))
        for state in range(len(entry.carried)) if carried.loop.length > 1 else ():
            aval: Any = eqn.outvars[state].aval
            outs[state] |= CODE * (self._length not in aval.shape)
        return outs

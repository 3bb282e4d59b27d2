"""A network that is cut off, and what is left of it to train."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Connection, MisdirectedCredit, Misdirection
from gradscope.trace.misdirected.tail import EVEN, ONE, Tail, is_square

_ADDING = ONE | {"add", "sub", "add_any", "reduce_sum", "slice", "concatenate", "stack", "stop_gradient"}


def offsets(tail: Tail) -> Iterator[MisdirectedCredit]:
    """Of a network behind a `stop_gradient` an offset is left, which no array of the batch multiplies."""
    program = tail.program
    cut = [
        (leaf, cuts[0])
        for leaf, (state, cuts) in enumerate(zip(program.connections, program.cuts, strict=True))
        if state is Connection.BLOCKED and cuts and cuts[0].op == "stop_gradient" and not cuts[0].on_parameter
    ]
    if not cut or not tail.loss.grad or not tail.squared:
        return
    for node in tail.nodes:
        moving = [each for each in node.operands if each.grad]
        by_number = node.name in ("mul", "div") and len(moving) == 1
        by_number = by_number and not any(tail.is_data(each) for each in node.operands if not each.grad)
        if moving and not (node.name in _ADDING or node.name in EVEN or by_number or is_square(node)):
            return
    blocked = [
        program.layers[group].name
        for group in range(len(program.layers))
        if any(leaf in program.layers[group].leaves for leaf, _ in cut)
    ]
    yield MisdirectedCredit(Misdirection.OFFSET, cut[0][1].source, tuple(blocked))

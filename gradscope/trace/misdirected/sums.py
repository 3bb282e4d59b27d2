"""Values that are summed over all rows before they meet the value or the number of each row."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace import jaxprs
from gradscope.trace.affine_terms import number_of
from gradscope.trace.graph import Quantity, behind
from gradscope.trace.jaxprs.stable import is_stable
from gradscope.trace.misdirected.tail import Tail, Wiring, sums_to
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS

FEWEST = 4
"""Rows of which a sum counts for more than a choice of units."""
MEAN = 2.0
"""A sum over n elements times a factor below this over n is a mean."""


def averaged(tail: Tail) -> Iterator[Wiring]:
    for node in sums_to(tail.loss):
        if node.name != "mul":
            continue
        size = node.results[0].aval.size
        for place, numbers in enumerate(node.operands):
            reduced = node.operands[1 - place]
            found = _reduced(reduced, size) if reduced.grad and not numbers.grad else None
            if found is None or not tail.is_data(found[0]) or not tail.is_data(numbers):
                continue
            if behind(numbers, VIEWS).aval.size >= found[2]:
                source, layers = source_of(node.eqn, node.calls), tail.layers(found[0])
                record = MisdirectedCredit(Misdirection.AVERAGED, source, layers, count=found[2])
                yield Wiring(record, ((node.path, place),))


def summed(tail: Tail) -> Iterator[MisdirectedCredit]:
    for node in sums_to(tail.loss):
        if node.name not in ("add", "sub") or is_stable(node.eqn, node.calls):
            continue
        for whole, rows in (node.operands, node.operands[::-1]):
            size = node.results[0].aval.size
            found = _reduced(whole, size) if whole.grad else None
            if found is None or not tail.is_data(found[0]) or not tail.is_data(rows):
                continue
            own = _reduced(rows, size) if rows.grad else None
            count = found[2]
            varies = own is None and behind(rows, VIEWS).aval.size >= count
            if count >= FEWEST and abs(found[1]) * count >= MEAN and varies:
                yield MisdirectedCredit(
                    Misdirection.SUMMED,
                    source_of(node.eqn, node.calls),
                    tail.layers(found[0]),
                    count=count,
                )


def _reduced(value: Quantity, size: int) -> tuple[Quantity, float, int] | None:
    """What a value was summed from as a whole that is copied along an axis again, to so many elements: with
    the factor of the sum, and the elements along that axis. `None` of any other value: what is summed within
    an example is meant for the example."""
    factor, base = 1.0, value
    while base.node is not None:
        node = base.node
        moving = [each for each in node.operands if each.grad]
        if len(moving) != 1:
            return None
        if node.name == "reduce_sum":
            break
        if node.name in ("mul", "div"):
            (other,) = (each for each in node.operands if each is not moving[0])
            number = number_of(other)
            if not number:
                return None
            factor *= number if node.name == "mul" else 1 / number
        elif node.name == "neg":
            factor = -factor
        elif node.name not in VIEWS:
            return None
        base = moving[0]
    if base.node is None or base.aval.size != 1 or size < 2:
        return None
    (moves,) = jaxprs.moves(base.node.eqn) or [()]
    summed = base.node.operands[0]
    gone = [size for size, to in zip(summed.aval.shape, moves, strict=True) if to is None]
    return (summed, factor, size) if size in (*gone, summed.aval.size) else None

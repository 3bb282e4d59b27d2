"""Stacks of layers in which nothing goes past a layer: no residual connection leads around any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gradscope.trace.domains.uses import LOOKUPS
from gradscope.trace.graph import Node, Quantity, viewed
from gradscope.trace.program import Program
from gradscope.trace.vocabulary import PRODUCTS, VIEWS

FEWEST = 5
"""Layers, or parts of blocks, with outputs of one shape."""
_SHIFTS = frozenset({"add", "add_any", "sub"})


def plain_stack(program: Program) -> list[Node]:
    """What makes the outputs of such layers, in forward order, biases included; empty where there are few.

    All that is computed of the batch goes through each of these values.
    """
    learned = _learned(program)
    cuts = _cuts(learned)
    shapes = Counter(_shape(node) for node in cuts if len(_shape(node)) > 1)
    if not shapes:
        return []
    wanted = max(shapes, key=lambda shape: (shapes[shape], shape))
    found = _ends(cuts, wanted)
    return found if len(found) >= FEWEST else []


def _learned(program: Program) -> list[Node]:
    """The nodes that read the batch and parameters."""
    leaves = len(program.leaves)
    of_data: set[int] = set()

    def reads_data(value: Quantity) -> bool:
        if value.node is not None:
            return id(value.node) in of_data
        closed = value.constant is not None and value.aval.size > 1
        return closed or (value.position is not None and value.position >= leaves)

    found = []
    for node in program.graph.nodes:
        if any(map(reads_data, node.operands)):
            of_data.add(id(node))
            if any(value.reads for value in node.results):
                found.append(node)
    return found


def _cuts(learned: Sequence[Node]) -> list[Node]:
    """Those with one result that nothing goes past, and behind which the batch does not come in anew."""
    place = {id(node): number for number, node in enumerate(learned)}
    behind = [[place[id(v.node)] for v in node.operands if id(v.node) in place] for node in learned]
    last = list(range(len(learned)))
    for number, operands in enumerate(behind):
        for each in operands:
            last[each] = number
    entered = max((number for number, operands in enumerate(behind) if not operands), default=0)
    found, reach = [], 0
    for number, node in enumerate(learned):
        if number >= entered and reach <= number and len(node.results) == 1:
            found.append(node)
        reach = max(reach, last[number])
    return found


def _ends(cuts: Sequence[Node], shape: tuple[int, ...]) -> list[Node]:
    """The last value of that shape before anything but a bias or a view, behind each product."""
    found = list[Node]()
    pending: Node | None = None
    products = False
    for node in cuts:
        if pending is not None and not _is_shift(node):
            found.append(pending)
            pending, products = None, False
        products = products or _is_layer(node)
        if products and _shape(node) == shape and (node.name in PRODUCTS or _is_shift(node)):
            pending = node
    return found


def _is_layer(node: Node) -> bool:
    """A product with a parameter, or rows of one: no product of the scores and the values of an attention."""
    return (node.name in PRODUCTS or node.name in LOOKUPS) and any(map(_of_weights, node.operands))


def _is_shift(node: Node) -> bool:
    if node.name in VIEWS:
        return True
    moving = [value for value in node.operands if value.node is not None and value.reads]
    return node.name in _SHIFTS and len(moving) <= 1 + sum(_of_weights(value) for value in moving)


def _of_weights(value: Quantity) -> bool:
    """A bias, brought to the shape of what it is added to."""
    value = viewed(value)
    return value.node is None and bool(value.reads)


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(getattr(node.results[0].aval, "shape", ()))

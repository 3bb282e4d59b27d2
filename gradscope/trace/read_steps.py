"""Where one step of what a loop over time gives is taken, and from which end of the sequence it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gradscope.records.common import Source
from gradscope.trace import jaxprs
from gradscope.trace.graph import Graph, Node, Quantity
from gradscope.trace.loops import Loop
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS


@dataclass(frozen=True)
class ReadSteps:
    backward: bool
    """The loop runs from the end of the sequence to its start."""
    taken_at: Source | None
    """The first line behind the loop that takes a single element along its steps."""


def read_steps(graph: Graph, loop: Loop) -> ReadSteps | None:
    """`None` where the loop is no single equation of the graph, as inside of another loop."""
    found = [node for node in graph.nodes if node.eqn is loop.eqn]
    if len(found) != 1:
        return None
    (node,) = found
    axis = loop.states[0][0].plan.lead[-1]
    turned = any(_turned(each, axis.length) for each in node.operands if axis.length in each.shape[:1])
    at = next(taken(graph, node, axis.length), None)
    return ReadSteps(axis.reverse != turned, None if at is None else source_of(at.eqn, at.calls))


def _turned(value: Quantity, length: int) -> bool:
    """Whether a sequence that goes into the loop was turned round."""
    turned = False
    while value.node is not None and value.node.name in VIEWS:
        if value.node.name == "rev":
            turned ^= any(
                step < 0 and first == length - 1 for first, _, step in jaxprs.slices(value.node.eqn)
            )
        value = value.node.operands[0]
    return turned


def taken(graph: Graph, made: Node, length: int) -> Iterator[Node]:
    """What takes a single element along an axis of this length, in the order of the program, of all that is
    made of the results of a node."""
    sequences = {id(each) for each in made.results if each.grad and length in each.shape}
    for node in graph.nodes[graph.nodes.index(made) + 1 :]:
        if not any(id(each) in sequences for each in node.operands):
            continue
        if _takes_one(node, length):
            yield node
        else:
            sequences |= {id(each) for each in node.results if each.grad and length in each.shape}


def _takes_one(node: Node, length: int) -> bool:
    before = node.operands[0].shape
    if node.name == "slice":
        sizes = [-(-(last - first) // stride) for first, last, stride in jaxprs.slices(node.eqn)]
    elif node.name in ("gather", "dynamic_slice"):
        sizes = list(jaxprs.lookup(node.eqn).sizes)
    else:
        return False
    return any(size == 1 and full == length for size, full in zip(sizes, before, strict=True))

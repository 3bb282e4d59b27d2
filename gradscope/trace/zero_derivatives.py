"""Derivatives that the loss takes itself and that are zero, or another number: no parameter reaches them,
although the function that is differentiated depends on parameters.

JAX follows a derivative through the operations that have one. The second derivative of a network of ReLUs has
none, so what is left of it in the program is a constant zero and operations on parameters that nothing reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import or_

import numpy as np

from gradscope.records import ZeroDerivative
from gradscope.trace import jaxprs
from gradscope.trace.graph import Graph, Node, Quantity, upstream
from gradscope.trace.nested.registry import inside
from gradscope.trace.sources import source_at
from gradscope.trace.vocabulary import PRODUCTS, STRAIGHT, activation

CHOICES = {"select_n": "where", "max": "max", "min": "min", "clamp": "clip"}
"""Operations that put straight pieces together, by primitive; named where no activation function is."""

Path = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Found:
    derivative: ZeroDerivative
    reads: int
    """Bits of the leaves that the function depends on."""


class Derivatives:
    """The derivatives that a program takes, by the lines that take them."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def in_constant(self, term: Quantity) -> Found | None:
        """The zero derivative in a term that depends on no parameter: it is taken at a line of the term."""
        return self._largest(upstream([term]), upstream([term])) if self._by_line else None

    def in_dependent(self, term: Quantity) -> Found | None:
        """The same in a term that does depend on some: there the zero itself has to be seen, or another
        number that is all that is left of a derivative."""
        if not self._by_line:
            return None
        above = upstream([term])
        numbers = {node.location for node in above if _number(node)}
        left = {path for path in numbers if _numbers_alone(path, above) is not None}
        return self._largest((n for n in above if _is_zero(n) or n.location in left), above)

    def _largest(self, nodes: Iterable[Node], above: Collection[Node]) -> Found | None:
        paths = {node.location for node in nodes} & self._dead
        most = max(paths, key=lambda path: (len(self._by_line[path]), len(path), path), default=None)
        if most is None:
            return None
        found = self._described(most)
        value = _numbers_alone(most, above)
        return found if value is None else replace(found, derivative=replace(found.derivative, value=value))

    @cached_property
    def _by_line(self) -> dict[Path, list[Node]]:
        """Operations on parameters under a derivative, by each line around them."""
        found: dict[Path, list[Node]] = {}
        for node in self._graph.nodes:
            if any(v.reads for v in node.operands) and jaxprs.differentiations(node.eqn, node.calls):
                path = node.location
                for outward in range(len(path)):
                    found.setdefault(path[outward:], []).append(node)
        return found

    @cached_property
    def _dead(self) -> set[Path]:
        """Lines under which no result of such an operation is read."""
        live = upstream(self._graph.outs)
        return {path for path, nodes in self._by_line.items() if not any(node in live for node in nodes)}

    def _described(self, path: Path) -> Found:
        nodes = self._by_line[path]
        named = [(name, node) for node in nodes for name in _names(node)]
        named = named or [(CHOICES[node.name], node) for node in nodes if node.name in CHOICES]
        straight = [(name, node) for name, node in named if name in STRAIGHT or name in CHOICES.values()]
        first = straight[0][1].location if straight else ()
        return Found(
            ZeroDerivative(
                source=source_at(path[0]) if path else None,
                repeated=_is_repeated(nodes),
                straight=tuple(dict.fromkeys(name for name, _ in straight)),
                curved=tuple(dict.fromkeys(each[0] for each in named if each not in straight)),
                activation_source=source_at(first[0]) if first else None,
            ),
            reduce(or_, (v.reads for node in nodes for v in node.operands), 0),
        )


def _is_repeated(nodes: Sequence[Node]) -> bool:
    """Two derivatives are taken, and the first is not zero: operations on parameters compute it.

    Going backward they are marked as such; going forward each weight is applied a second time, to a tangent.
    """
    if all(jaxprs.differentiations(node.eqn, node.calls) < 2 for node in nodes):
        return False
    if any(jaxprs.in_backward(each) for node in nodes for each in (node.eqn, *node.calls)):
        return True
    uses = Counter(
        (node.name, v) for node in nodes for v in node.operands if node.name in PRODUCTS and v.reads
    )
    return any(times > 1 for times in uses.values())


def _names(node: Node) -> list[str]:
    """Of the activation functions that it belongs to, or that it applies in a loop."""
    inner = jaxprs.all_equations(node.eqn) if inside(node.eqn) else [node.eqn]
    found = ["abs" if each.primitive.name == "abs" else activation(each) for each in (*inner, *node.calls)]
    return [name for name in found if name is not None]


def _is_zero(node: Node) -> bool:
    number = node.operands[0].number if node.name == "broadcast_in_dim" else None
    return number is not None and not np.any(number)


def _number(node: Node) -> float:
    """That going backward begins with and ends with, too; 0 of anything else."""
    number = node.operands[0].number if node.name == "broadcast_in_dim" else None
    if number is None or np.size(number) != 1 or not jaxprs.in_backward(node.eqn):
        return 0.0
    return float(np.asarray(number, np.float64).reshape(()))


def _numbers_alone(path: Path, nodes: Iterable[Node]) -> float | None:
    """The one number that the derivative at a line is, where nothing else is computed of it there."""
    backward = [node for node in nodes if node.location == path and jaxprs.in_backward(node.eqn)]
    values = {_number(node) for node in backward}
    return values.pop() if len(values) == 1 and 0.0 not in values else None

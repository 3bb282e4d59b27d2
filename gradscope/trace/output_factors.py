"""Constant numbers that the output of a layer is multiplied by, and nothing else reads: 1 over a width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.trace import jaxprs
from gradscope.trace.forward import entries
from gradscope.trace.graph import Graph, Node, Quantity
from gradscope.trace.program import Program
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.walk import Path

_PASSED = VIEWS | {"convert_element_type", "copy", "neg"}
_COMPUTED = frozenset({"sqrt", "rsqrt", "mul", "div", "pow", "integer_pow", "log", "exp"}) | _PASSED
_DEEPEST = 16
"""Operations between a literal and the factor that is computed from it."""


def output_factors(program: Program) -> dict[int, float]:
    """By site; 1 where no such number follows. In a loop or a branch those are found that it makes itself,
    and uses there."""
    whole = _Users(program.graph)
    factors = {}
    for site in program.sites:
        found = whole.at(tuple(place for place in site.path[:-1] if place >= 0))
        factors[site.id] = 1.0 if found is None else _factor(found[0].results[site.position], found[1])
    return factors


class _Users:
    """Which nodes of a graph read a value, by its `id`; and the same of the jaxprs in its nodes."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = {node.path: node for node in graph.nodes}
        self._below: dict[Path, _Users] = {}
        self.taken: dict[int, list[Node]] = {}
        for node in graph.nodes:
            for operand in node.operands:
                self.taken.setdefault(id(operand), []).append(node)

    def at(self, path: Path) -> tuple[Node, dict[int, list[Node]]] | None:
        """The node there, and who reads what of the jaxpr that it is in."""
        if path in self._nodes:
            return self._nodes[path], self.taken
        for end in range(1, len(path), 2):
            if path[:end] in self._nodes:
                below = self._inside(path[: end + 1])
                return None if below is None else below.at(path[end + 1 :])
        return None

    def _inside(self, path: Path) -> _Users | None:
        """`path`: of a node and, last, the number of a jaxpr that it carries."""
        if path not in self._below:
            carried = {entry.number: entry.body for entry in entries(self._nodes[path[:-1]].eqn)}
            if path[-1] not in carried:
                return None
            graph = Graph(carried[path[-1]], 0)
            found = self._below[path] = _Users(graph)
            for value in graph.outs:
                found.taken.pop(id(value), None)
        return self._below[path]


def _factor(value: Quantity, taken: dict[int, list[Node]]) -> float:
    factor = 1.0
    while len(users := taken.get(id(value), [])) == 1:
        node = users[0]
        others = [each for each in node.operands if each is not value]
        if node.name in ("mul", "div") and len(others) == 1:
            number = _number(others[0])
            if number is None or not number or (node.name == "div" and node.operands[0] is not value):
                break
            factor *= number if node.name == "mul" else 1 / number
        elif node.name not in _PASSED or others:
            break
        value = node.results[0]
    return abs(factor)


def _number(value: Quantity, depth: int = 0) -> float | None:
    """The one number that all of its elements are, where the program computes it from constants."""
    found = _computed(value, depth)
    if found is None or not np.size(found) or not np.issubdtype(np.asarray(found).dtype, np.number):
        return None
    least, most = float(np.min(found)), float(np.max(found))
    return least if least == most and math.isfinite(least) else None


def _computed(value: Quantity, depth: int) -> Any:
    if value.number is not None:
        return value.number
    if value.constant is not None:
        return value.constant if np.ndim(value.constant) == 0 else None
    node = value.node
    if node is None or value.reads or node.name not in _COMPUTED or depth >= _DEEPEST:
        return None
    operands: Sequence[Any] = [_computed(each, depth + 1) for each in node.operands]
    if any(each is None for each in operands):
        return None
    return jaxprs.run_equation(node.eqn, operands)[node.results.index(value)]

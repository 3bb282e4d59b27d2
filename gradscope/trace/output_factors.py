"""Constant numbers that the output of a layer is multiplied by, and nothing else reads: 1 over a width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.trace import jaxprs
from gradscope.trace.graph import Graph, Node, Quantity
from gradscope.trace.program import Program
from gradscope.trace.vocabulary import VIEWS

_PASSED = VIEWS | {"convert_element_type", "copy", "neg"}
_COMPUTED = frozenset({"sqrt", "rsqrt", "mul", "div", "pow", "integer_pow", "log", "exp"}) | _PASSED
_DEEPEST = 16
"""Operations between a literal and the factor that is computed from it."""


def output_factors(program: Program) -> dict[int, float]:
    """By site; 1 where no such number follows. Inside of loops and branches none is looked for."""
    made, taken = _users(program.graph)
    factors = {}
    for site in program.sites:
        node = made.get(tuple(site.path[:-1])) if not site.lead else None
        factors[site.id] = 1.0 if node is None else _factor(node.results[site.position], taken)
    return factors


def _users(graph: Graph) -> tuple[dict[tuple[int, ...], Node], dict[int, list[Node]]]:
    """Nodes by their place, and by the `id` of a value those that read it."""
    taken: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for operand in node.operands:
            taken.setdefault(id(operand), []).append(node)
    for value in graph.outs:
        taken.setdefault(id(value), [])
    return {tuple(node.path): node for node in graph.nodes}, taken


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

"""Straight-through estimators: `x + stop_gradient(q - x)` has the value of q and the gradient of x.

They are found by what they are and not by how they are written: each sum, difference and `stop_gradient` is
resolved into what it adds up to in value, and what of that has a gradient.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gradscope.trace.graph import Graph, Node, Quantity, upstream

_SIGNS = {"add": (1, 1), "add_any": (1, 1), "sub": (1, -1), "neg": (-1,)}


@dataclass(frozen=True)
class _Sum:
    """How often each quantity stands in a sum, below zero where it is subtracted."""

    value: Counter[Quantity]
    grad: Counter[Quantity]
    stops: frozenset[Node] = frozenset()
    """The `stop_gradient`s in it."""


@dataclass
class Estimator:
    """One straight-through estimator."""

    result: Quantity
    around: Quantity
    """What gets the gradient."""
    stops: frozenset[Node]
    compared: list[Node] = field(default_factory=list)
    """Differences of its result and what gets the gradient, read by the loss: the gradient of theirs has the
    wrong sign, or there is none."""


def estimators(graph: Graph) -> list[Estimator]:
    """In the order in which they run."""
    live = upstream(graph.outs[:1], past_cuts=False)
    sums: dict[Quantity, _Sum] = {}
    found: dict[Quantity, Estimator] = {}
    for node in graph.nodes:
        if node.name not in _SIGNS and node.name != "stop_gradient":
            continue
        (result,) = node.results
        total = sums[result] = _sum(node, sums)
        for estimator in (found[each] for each in node.operands if each in found):
            value, grad = total.value[estimator.around], total.grad[estimator.around]
            if value and (value * grad < 0 or not total.grad) and node in live:
                estimator.compared.append(node)
        if total.stops and node.name != "stop_gradient" and _is_one(total.value) and _is_one(total.grad):
            (around,) = total.grad
            if around not in total.value:
                found[result] = Estimator(result, around, total.stops)
    return list(found.values())


def _is_one(terms: Counter[Quantity]) -> bool:
    return list(terms.values()) == [1]


def _sum(node: Node, sums: dict[Quantity, _Sum]) -> _Sum:
    parts = [sums.get(each) or _Sum(Counter([each]), Counter([each])) for each in node.operands]
    if node.name == "stop_gradient":
        return _Sum(parts[0].value, Counter(), parts[0].stops | {node})
    value: Counter[Quantity] = Counter()
    grad: Counter[Quantity] = Counter()
    for sign, part in zip(_SIGNS[node.name], parts, strict=True):
        for quantity, times in part.value.items():
            value[quantity] += sign * times
        for quantity, times in part.grad.items():
            grad[quantity] += sign * times
    stops = frozenset().union(*(part.stops for part in parts))
    return _Sum(_without_zeros(value), _without_zeros(grad), stops)


def _without_zeros(terms: Counter[Quantity]) -> Counter[Quantity]:
    return Counter({quantity: times for quantity, times in terms.items() if times})

"""Straight-through estimators: `x + stop_gradient(q - x)` has the value of q and the gradient of x.

They are found by what they are and not by how they are written: each sum, difference and `stop_gradient` is
resolved into what it adds up to in value, and what of that has a gradient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

from gradscope.trace.graph import Graph, Node, Quantity, upstream
from gradscope.trace.jaxprs.identity import Identity
from gradscope.trace.vocabulary import VIEWS

Part = tuple[Quantity, tuple[Hashable, ...]]
"""A quantity, and the views of it that are taken one after the other."""

_SIGNS = {"add": (1, 1), "add_any": (1, 1), "sub": (1, -1), "neg": (-1,)}


@dataclass(frozen=True)
class _Sum:
    """How often each part stands in a sum, below zero where it is subtracted."""

    value: Counter[Part]
    grad: Counter[Part]
    stops: frozenset[Node] = frozenset()
    """The `stop_gradient`s in it."""


@dataclass
class Estimator:
    """One straight-through estimator."""

    around: Part
    """What gets the gradient."""
    stops: frozenset[Node]
    compared: list[Node] = field(default_factory=list)
    """Differences of its result and what gets the gradient, read by the loss: the gradient of theirs has the
    wrong sign, or there is none."""


def estimators(graph: Graph) -> list[Estimator]:
    """In the order in which they run."""
    live = upstream(graph.outs[:1], past_cuts=False)
    sums, views = dict[Quantity, _Sum](), Identity()
    found: dict[Quantity, Estimator] = {}
    for node in graph.nodes:
        total = _sum(node, sums, views)
        if total is None:
            continue
        (result,) = node.results
        sums[result] = total
        for estimator in (found[each] for each in node.operands if each in found):
            value, grad = total.value[estimator.around], total.grad[estimator.around]
            if value and (value * grad < 0 or not total.grad) and node in live:
                estimator.compared.append(node)
        if total.stops and node.name != "stop_gradient" and _is_one(total.value) and _is_one(total.grad):
            (around,) = total.grad
            if around not in total.value:
                found[result] = Estimator(around, total.stops)
    return list(found.values())


def _is_one(terms: Counter[Part]) -> bool:
    return list(terms.values()) == [1]


def _sum(node: Node, sums: dict[Quantity, _Sum], views: Identity) -> _Sum | None:
    parts = [sums.get(each) or _alone(each) for each in node.operands]
    if node.name == "stop_gradient":
        return _Sum(parts[0].value, Counter(), parts[0].stops | {node})
    if node.name in VIEWS and len(parts) == 1:
        shape = tuple(node.results[0].aval.shape)
        view = shape if node.name == "reshape" else views.equation(node.eqn)
        return _Sum(_seen(parts[0].value, view), _seen(parts[0].grad, view), parts[0].stops)
    if node.name not in _SIGNS:
        return None
    value, grad = Counter[Part](), Counter[Part]()
    for sign, part in zip(_SIGNS[node.name], parts, strict=True):
        for total, own in ((value, part.value), (grad, part.grad)):
            for quantity, times in own.items():
                total[quantity] += sign * times
    stops = frozenset[Node]().union(*(part.stops for part in parts))
    return _Sum(_without_zeros(value), _without_zeros(grad), stops)


def _alone(quantity: Quantity) -> _Sum:
    return _Sum(Counter([(quantity, ())]), Counter([(quantity, ())]))


def _seen(terms: Counter[Part], view: Hashable) -> Counter[Part]:
    return Counter({(quantity, _then(quantity, views, view)): n for (quantity, views), n in terms.items()})


def _then(quantity: Quantity, views: tuple[Hashable, ...], view: Hashable) -> tuple[Hashable, ...]:
    """A reshape is its shape: after another it stands alone, and back to the first shape it is none."""
    if not isinstance(view, tuple):
        return *views, view
    before = views[:-1] if views and isinstance(views[-1], tuple) else views
    return before if not before and view == tuple(quantity.aval.shape) else (*before, view)


def _without_zeros(terms: Counter[Part]) -> Counter[Part]:
    return Counter({part: times for part, times in terms.items() if times})

"""Normalizations over a single element: what goes in is its own mean, and the difference is exactly 0."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from gradscope.records import LoneNormalization
from gradscope.trace import jaxprs
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.graph import Node, Quantity, upstream
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import ROOTS, VIEWS

_IN_ORDER = VIEWS - {"transpose", "rev", "reduce_precision"}
"""Views that leave elements in their order, unless they repeat some."""
_FACTORS = VIEWS | {"mul", "div", "add"}
"""A small number is added to a deviation."""

Centered = tuple[Quantity, Node]
"""A value, and the sum behind the mean that is taken away from it."""


def lone_normalizations(program: Program, batch: Any) -> Iterator[LoneNormalization]:
    """Of values that depend on parameters, in the order of the program; none inside of a loop."""
    if not jaxprs.has_primitive(program.body, ROOTS):
        return
    nodes = program.graph.nodes
    for node in nodes:
        found = _own_mean(nodes, node)
        if found is not None:
            value, mean = found
            yield LoneNormalization(
                source=source_of(node.eqn, node.calls),
                shape=mean.operands[0].shape,
                axes=_axes(mean),
                layers=_layers(program, value, mean.results[0]),
                examples=examples_of(program, batch),
            )


def _own_mean(nodes: Sequence[Node], node: Node) -> Centered | None:
    """Of a value less its own mean, if the difference is divided by a root, or both of them were."""
    if node.name not in ("sub", "add", "add_any") or not node.results[0].reads:
        return None
    one, other = node.operands
    sums = [_sum_of(node, *pair, minus=node.name == "sub") for pair in ((one, other), (other, one))]
    found = next(filter(None, sums), None)
    if found is not None:
        return found if any(map(_is_scaled, _users(nodes, node))) else None
    return next(filter(None, (_scaled_apart(node, *pair) for pair in ((one, other), (other, one)))), None)


def _scaled_apart(node: Node, product: Quantity, rest: Quantity) -> Centered | None:
    """Of `x * factor + (bias - mean * factor)`, as Keras writes it."""
    scaled = product.node
    if node.name == "sub" or scaled is None or scaled.name != "mul":
        return None
    terms = [rest, *(rest.node.operands if rest.node is not None and rest.node.name == "add" else ())]
    for term in terms:
        for value, factor in (scaled.operands, scaled.operands[::-1]):
            if term.node is not None and term.node.name == "mul" and factor in term.node.operands:
                (mean, *_) = [each for each in term.node.operands if each is not factor] or [factor]
                found = _sum_of(scaled, value, mean, minus=False) if _has_root(factor) else None
                if found is not None:
                    return found
    return None


def _sum_of(node: Node, value: Quantity, other: Quantity, *, minus: bool) -> Centered | None:
    """The mean over one element that is taken away from a value; `minus`: by a difference."""
    mean, positive = _unsigned(other)
    if positive != minus or mean.node is None or not _is_sum(mean.node):
        return None
    summed = mean.node.operands[0]
    sizes = {math.prod(each.shape) for each in (value, summed, mean, node.results[0])}
    return (value, mean.node) if len(sizes) == 1 and _in_order(summed) is _in_order(value) else None


def _is_sum(node: Node) -> bool:
    """Along an axis that is gone then: not over the devices of a mesh."""
    before, after = node.operands[0].shape, node.results[0].shape
    return node.name in ("reduce_sum", "psum") and len(after) < len(before)


def _axes(node: Node) -> tuple[int, ...]:
    """That of a `psum` is the first one, as `vmap` puts it."""
    found = jaxprs.moves(node.eqn) if node.name == "reduce_sum" else None
    return (0,) if found is None else tuple(axis for axis, to in enumerate(found[0]) if to is None)


def _unsigned(value: Quantity) -> tuple[Quantity, bool]:
    """Past views, and factors of 1; and whether it is as it stands, or its negative."""
    positive = True
    while value.node is not None:
        node = value.node
        if node.name == "neg":
            positive = not positive
        elif _is_sum(node) or not _keeps(node):
            break
        value = node.operands[0]
    return value, positive


def _in_order(value: Quantity) -> Quantity:
    while value.node is not None and _keeps(value.node):
        value = value.node.operands[0]
    return value


def _keeps(node: Node) -> bool:
    same = math.prod(node.operands[0].shape) == math.prod(node.results[0].shape)
    return same and (node.name in _IN_ORDER or node.name == "reduce_sum" or _is_one_of_one(node))


def _is_one_of_one(node: Node) -> bool:
    return node.name == "div" and _is_one(node.operands[1])


def _is_one(value: Quantity) -> bool:
    return value.number is not None and math.prod(value.shape) == 1 and float(value.number) == 1.0


def _is_scaled(node: Node) -> bool:
    """Whether it multiplies by what a root is a factor of, or divides by it."""
    return node.name in ("mul", "div") and any(_has_root(each) for each in node.operands)


def _has_root(value: Quantity) -> bool:
    waiting, met = [value], set[int]()
    while waiting:
        node = waiting.pop().node
        if node is None or id(node) in met:
            continue
        met.add(id(node))
        if node.name in ROOTS:
            return True
        if node.name in _FACTORS:
            waiting.extend(node.operands)
    return False


def _users(nodes: Sequence[Node], node: Node) -> Iterator[Node]:
    """Of the result of a node, views of it included."""
    made = {id(node.results[0])}
    for each in nodes:
        if any(id(operand) in made for operand in each.operands):
            if _keeps(each):
                made.update(map(id, each.results))
            else:
                yield each


def _layers(program: Program, *values: Quantity) -> tuple[str, ...]:
    """That these are computed from, in their order."""
    above = {each.path for each in upstream(values)}
    names = program.layer_names
    found = (names[site.id] for site in program.sites if site.path[:-1] in above and site.id in names)
    return tuple(dict.fromkeys(found))

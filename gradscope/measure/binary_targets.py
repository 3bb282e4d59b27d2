"""Targets and outputs of a binary cross-entropy that are no probabilities: such targets leave it no minimum.

It is written as -y log p - (1 - y) log(1 - p), of one logit, whose two weights add up to a constant, or of a
logit x as max(x, 0) - x y + log(1 + exp(-|x|)), where nothing is multiplied with the positive part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from gradscope.records import OutputFault, OutputMismatch
from gradscope.trace import jaxprs
from gradscope.trace.domains.data_meetings import DataMeeting, data_meetings
from gradscope.trace.graph import Node, Quantity, behind, upstream
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import PRODUCTS, VIEWS

Floats = NDArray[np.float64]
BEYOND = 1e-3
"""Outside of [0, 1] by less is rounding."""
_LOGARITHMS = frozenset({"log", "log1p"})
_ON_THE_WAY = VIEWS | {"neg", "add", "sub", "max", "min", "clamp"}
_OF_TWO = "logaddexp"
"""A function of JAX with a derivative rule of its own, of which a softplus is made."""
_TO_THE_LOGIT = _ON_THE_WAY | _LOGARITHMS | {"exp", "logistic", "abs"}
SUMS = "add", "sub", "add_any"


def binary_targets(program: Program, inputs: Sequence[Inputs]) -> Iterator[OutputMismatch]:
    """In the order of the program; nothing where all targets and the output lie in [0, 1]."""
    meetings = [each for each in data_meetings(program.body, len(program.leaves)) if each.outputs]
    products = {each.path: each for each in meetings if each.eqn.primitive.name == "mul"}
    if not products:
        return
    given = [[*each.weights, *each.others, *program.body.consts] for each in inputs]
    sums = _Sums(program.graph.nodes)
    for node in program.graph.nodes:
        found: Floats | None = None
        if node.name in SUMS:
            found = _of_two_logarithms(node, products, given)
            if found is not None and (function := _no_probability(program, node, products)):
                place = source_of(node.eqn, node.calls), _layer(program, node)
                yield OutputMismatch(OutputFault.NO_PROBABILITY, *place, function=function)
        elif node.path in products:
            found = _of_a_logit(node, products[node.path], sums, given)
        if found is None or not np.isfinite(found).all():
            continue
        outside = (found < -BEYOND) | (found > 1 + BEYOND)
        if outside.any():
            yield OutputMismatch(
                OutputFault.NOT_BINARY,
                source_of(node.eqn, node.calls),
                _layer(program, node),
                low=0.0,
                high=1.0,
                smallest=float(found.min()),
                largest=float(found.max()),
                outside=float(np.mean(outside)),
            )


def _of_two_logarithms(
    node: Node, products: dict[Any, DataMeeting], given: Sequence[Sequence[Any]]
) -> Floats | None:
    """Of a sum of two products, the weight of the first logarithm over that of both."""
    weighed = _weighed(node, products)
    meetings, logarithms = [each for each, _ in weighed], [value for _, value in weighed]
    if len(weighed) != 2 or not all(map(_is_logarithm, logarithms)):
        return None
    if _logit(logarithms[0]) is not _logit(logarithms[1]):
        return None
    first, second = (_values(each, given) for each in meetings)
    if first.shape != second.shape or first.size < 2:
        return None
    both = first + (-second if node.name == "sub" else second)
    if both[0] == 0 or not np.allclose(both, both[0], rtol=BEYOND) or np.ptp(first) == 0:
        return None
    return first / both


def _weighed(node: Node, products: dict[Any, DataMeeting]) -> list[tuple[DataMeeting, Quantity]]:
    """Of the terms of a sum: those that are products with the batch, and what is multiplied."""
    parts = [each.node for each in node.operands if each.node is not None and each.node.path in products]
    return [
        (products[each.path], each.operands[products[each.path].outputs[0]])
        for each in parts
        if each is not None
    ]


def _no_probability(program: Program, node: Node, products: dict[Any, DataMeeting]) -> str:
    """What the two logarithms are of, where nothing keeps that between 0 and 1; else empty."""
    found = {_function(program, value) for _, value in _weighed(node, products)}
    return found.pop() if len(found) == 1 else ""


def _function(program: Program, value: Quantity) -> str:
    logarithm = behind(value, VIEWS | {"neg"}).node
    if logarithm is None or logarithm.name not in _LOGARITHMS:
        return ""
    value = logarithm.operands[0]
    while value.node is not None:
        node, moving = value.node, [each for each in value.node.operands if each.reads]
        rule = jaxprs.custom_rule(node.eqn)
        clips = len(moving) == 1 and node.name in _ON_THE_WAY
        if (rule is not None and rule.function in ("relu", "relu6")) or (clips and _is_relu(node)):
            return "ReLU"
        if node.name == "tanh":
            return "tanh"
        if not clips:
            return "linear layer" if _is_affine(program, node) else ""
        (value,) = moving
    return ""


def _is_relu(node: Node) -> bool:
    return node.name == "max" and any(
        each.number is not None and not np.any(each.number) for each in node.operands
    )


def _is_affine(program: Program, node: Node) -> bool:
    """A product plus a bias that is a parameter as it stands."""
    if node.name not in ("add", "add_any"):
        return False
    ends = [behind(each, VIEWS) for each in node.operands]
    leaves = [each.position is not None and each.position < len(program.leaves) for each in ends]
    made = [each.node is not None and each.node.name in PRODUCTS for each in ends]
    return any(leaves) and any(made)


def _of_a_logit(
    node: Node, product: DataMeeting, sums: _Sums, given: Sequence[Sequence[Any]]
) -> Floats | None:
    """What is multiplied with a logit, where the sum around has its positive part with the other sign, and
    the logarithm of 1 + exp(-|x|)."""
    logit = behind(node.operands[product.outputs[0]], VIEWS)
    terms = sums.around(node.results[0])
    own = next((sign for sign, term in terms if term is node.results[0]), 0)
    positive = any(sign == -own and _is_positive_part(term, logit) for sign, term in terms)
    rest = any(sign == -own and _is_logarithm(term) and _logit(term) is logit for sign, term in terms)
    return _values(product, given) if positive and rest else None


class _Sums:
    """Sums with all their terms, however they are nested."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._users: dict[int, list[Node]] = {}
        for node in nodes:
            for value in node.operands:
                self._users.setdefault(id(value), []).append(node)

    def around(self, value: Quantity) -> list[tuple[int, Quantity]]:
        """The terms of the largest sum of values of its shape that a value stands in, with their signs."""
        top = value
        while len(users := self._users.get(id(top), [])) == 1 and users[0].name in (*SUMS, "neg"):
            if getattr(users[0].results[0].aval, "shape", ()) != getattr(value.aval, "shape", ()):
                break
            top = users[0].results[0]
        found: list[tuple[int, Quantity]] = []
        waiting = [(1, top)]
        while waiting:
            sign, each = waiting.pop()
            node = each.node
            if node is None or node.name not in (*SUMS, "neg"):
                found.append((sign, each))
                continue
            last = -sign if node.name in ("sub", "neg") else sign
            waiting += [*((sign, one) for one in node.operands[:-1]), (last, node.operands[-1])]
        return found


def _is_positive_part(value: Quantity, logit: Quantity) -> bool:
    node = value.node
    if node is None or not any(behind(each, VIEWS) is logit for each in node.operands):
        return False
    if node.name == "max":
        return _is_relu(node)
    rule = jaxprs.custom_rule(node.eqn)
    return rule is not None and rule.function == "relu"


def _logit(value: Quantity) -> Quantity:
    """What a logarithm is of, behind sigmoids, exponentials, signs and numbers."""
    return behind(value, _TO_THE_LOGIT, {_OF_TWO})


def _is_logarithm(value: Quantity) -> bool:
    end = behind(value, _ON_THE_WAY)
    rule = None if end.node is None else jaxprs.custom_rule(end.node.eqn)
    return end.node is not None and (
        end.node.name in _LOGARITHMS or (rule is not None and rule.function == _OF_TWO)
    )


def _values(meeting: DataMeeting, given: Sequence[Sequence[Any]]) -> Floats:
    found = jax.device_get([meeting.given.value(each) for each in given])
    return np.concatenate([np.ravel(np.asarray(each, np.float64)) for each in found])


def _layer(program: Program, node: Node) -> str | None:
    """The last one that it is computed from."""
    above = {each.path for each in upstream([*node.results])}
    before = [site for site in program.sites if site.path[:-1] in above]
    return program.layer_names.get(before[-1].id) if before else None

"""Targets of a binary cross-entropy that are no probabilities: below 0 or above 1 it has no minimum.

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
from gradscope.trace.vocabulary import VIEWS

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
    """In the order of the program; nothing where all targets lie in [0, 1]."""
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
    parts = [each.node for each in node.operands]
    if any(part is None or part.path not in products for part in parts):
        return None
    meetings = [products[part.path] for part in parts if part is not None]
    logarithms = [
        part.operands[each.outputs[0]] for part, each in zip(parts, meetings, strict=True) if part is not None
    ]
    if not all(map(_is_logarithm, logarithms)) or _logit(logarithms[0]) is not _logit(logarithms[1]):
        return None
    first, second = (_values(each, given) for each in meetings)
    if first.shape != second.shape or first.size < 2:
        return None
    both = first + (-second if node.name == "sub" else second)
    if both[0] == 0 or not np.allclose(both, both[0], rtol=BEYOND) or np.ptp(first) == 0:
        return None
    return first / both


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
        return any(each.number is not None and not np.any(each.number) for each in node.operands)
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

"""Targets of an overlap that are not between 0 and 1, where the outputs are: masks of 0 and 255 under Dice.

An overlap is a sum of products of outputs and targets over the sum of these outputs and that of these targets
(or of their squares), each a term of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import jax
import numpy as np

from gradscope.measure.binary_targets import BEYOND
from gradscope.records import OutputFault, OutputMismatch
from gradscope.trace import jaxprs
from gradscope.trace.domains.data_meetings import DataMeeting, data_meetings
from gradscope.trace.graph import Node, Quantity, behind, upstream, viewed
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.walk import Path

_PRODUCTS = frozenset({"mul", "dot_general"})
_SQUARES = VIEWS | {"square", "integer_pow"}
_SOFTMAX = frozenset({"softmax", "_softmax"})
_ADDED = frozenset({"add", "add_any", "sub", "max"})
_SCALED = frozenset({"mul", "div"})


def overlap_targets(program: Program, inputs: Sequence[Inputs]) -> Iterator[OutputMismatch]:
    """In the order of the program; nothing where all targets lie in [0, 1]."""
    quotients = [node for node in program.graph.nodes if node.name == "div" and node.results[0].reads]
    if not quotients:
        return
    met = data_meetings(program.body, len(program.leaves))
    products = {each.path: each for each in met if each.outputs and each.eqn.primitive.name in _PRODUCTS}
    given = [[*each.weights, *each.others, *program.body.consts] for each in inputs]
    for quotient in quotients if products else ():
        meeting = _overlap(quotient, products)
        if meeting is None:
            continue
        found = jax.device_get([meeting.given.value(each) for each in given])
        values = np.concatenate([np.ravel(np.asarray(each, np.float64)) for each in found])
        outside = (values < -BEYOND) | (values > 1 + BEYOND)
        if np.isfinite(values).all() and outside.any():
            yield OutputMismatch(
                OutputFault.OVERLAP,
                source_of(quotient.eqn, quotient.calls),
                None,
                low=0.0,
                high=1.0,
                smallest=float(values.min()),
                largest=float(values.max()),
                outside=float(np.mean(outside)),
            )


def _overlap(quotient: Node, products: Mapping[Path, DataMeeting]) -> DataMeeting | None:
    """The product of an output and a target over what holds the sums of both of them."""
    summed = [end for each in _terms(quotient.operands[1]) for end in _ends(each)]
    if not any(each.reads for each in summed) or all(each.reads for each in summed):
        return None
    for node in upstream([quotient.operands[0]]):
        meeting = products.get(node.path)
        if meeting is None:
            continue
        output = behind(node.operands[meeting.outputs[0]], VIEWS)
        target = _plain(node.operands[meeting.operand], VIEWS)
        if _is_share(output) and _among(output, summed) and _among(target, summed):
            return meeting
    return None


def _terms(value: Quantity) -> Iterator[Quantity]:
    """What is summed over places in the terms of a sum, times numbers."""
    value = _plain(value, VIEWS)
    if value.node is None:
        return
    if value.node.name == "reduce_sum":
        yield value.node.operands[0]
    elif value.node.name in _ADDED or (value.node.name in _SCALED and _numbers(value.node)):
        for each in value.node.operands:
            yield from _terms(each)


def _ends(value: Quantity) -> list[Quantity]:
    """What is summed, or what its squares are of."""
    end = _plain(value, _SQUARES | {"reduce_sum"})
    if end.node is not None and end.node.name == "mul" and end.node.operands[0] is end.node.operands[1]:
        return [end, _plain(end.node.operands[0], VIEWS)]
    if end.node is not None and end.node.name in ("add", "add_any"):
        return [_plain(each, _SQUARES) for each in end.node.operands]
    return [end]


def _plain(value: Quantity, names: Collection[str]) -> Quantity:
    """Back through operations of these names, and factors that are numbers."""
    while value.node is not None:
        node = value.node
        if node.name in _SCALED and _numbers(node):
            value = next(each for each in node.operands if viewed(each).number is None)
        elif node.name in names:
            value = node.operands[0]
        else:
            break
    return value


def _numbers(node: Node) -> bool:
    return sum(viewed(each).number is not None for each in node.operands) == 1


def _among(value: Quantity, summed: Sequence[Quantity]) -> bool:
    return any(each is value for each in summed)


def _is_share(value: Quantity) -> bool:
    """Whether it lies in [0, 1]: a sigmoid or a softmax."""
    if value.node is None:
        return False
    rule = jaxprs.custom_rule(value.node.eqn)
    over = value.node.operands[0].node
    return (
        value.node.name == "logistic"
        or (rule is not None and rule.function in _SOFTMAX)
        or (value.node.name == "div" and over is not None and over.name == "exp")
    )

"""Targets of an overlap that are not between 0 and 1, where the outputs are: masks of 0 and 255 under Dice.

An overlap is a sum of products of outputs and targets over what holds the sum of the outputs (or of their
squares) and that of the targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from gradscope.measure.binary_targets import BEYOND
from gradscope.records import OutputFault, OutputMismatch
from gradscope.trace import jaxprs
from gradscope.trace.domains.data_meetings import DataMeeting, data_meetings
from gradscope.trace.graph import Node, Quantity, behind, upstream
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.walk import Path

_PRODUCTS = frozenset({"mul", "dot_general"})
_SQUARES = VIEWS | {"square", "integer_pow"}
_SOFTMAX = frozenset({"softmax", "_softmax"})


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
    above, below = (upstream([each]) for each in quotient.operands)
    sums = [node for node in below if node.name == "reduce_sum"]
    if not any(not each.results[0].reads for each in sums):
        return None
    summed = [end for each in sums for end in _ends(each.operands[0])]
    for node in above:
        meeting = products.get(node.path)
        if meeting is None:
            continue
        output = behind(node.operands[meeting.outputs[0]], VIEWS)
        if _is_share(output) and any(each is output for each in summed):
            return meeting
    return None


def _ends(value: Quantity) -> list[Quantity]:
    """What is summed, or what its squares are of."""
    end = behind(value, _SQUARES)
    if end.node is not None and end.node.name == "mul" and end.node.operands[0] is end.node.operands[1]:
        return [end, behind(end.node.operands[0], VIEWS)]
    if end.node is not None and end.node.name in ("add", "add_any"):
        return [behind(each, _SQUARES) for each in end.node.operands]
    return [end]


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

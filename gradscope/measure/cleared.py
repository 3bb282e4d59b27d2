"""Arrays of the batch that are 0 everywhere where something is multiplied by them: the mask of a task that no
example has a label for, a part of the input that no example has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from gradscope.records import Connection, GradientEnd, Measurement
from gradscope.trace.domains.data_meetings import data_meetings
from gradscope.trace.domains.objective.given import Given
from gradscope.trace.graph import Node, behind
from gradscope.trace.leaves import split
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import PRODUCTS, VIEWS
from gradscope.trace.walk import Path


class Cleared:
    """What one batch clears in one program. Inside of loops and branches nothing is said to be."""

    def __init__(self, program: Program, inputs: Inputs, batch: Any) -> None:
        key = len(inputs.weights) + len(inputs.others) - 1
        own = frozenset(range(key - len(split(batch).traced), key))
        met = data_meetings(program.body, len(program.leaves))
        self._given: dict[tuple[Path, int], Given] = {
            (each.path, each.operand): each.given for each in met if each.given.inputs & own
        }
        self._values = [*inputs.weights, *inputs.others, *program.body.consts]

    def clears(self, node: Node) -> bool:
        """Whether nothing of what depends on parameters is left in its result."""
        if node.name == "select_n":
            chosen = self._value(node, 0)
            return chosen is not None and not any(
                np.any(chosen == case) for case, each in enumerate(node.operands[1:]) if each.grad
            )
        if node.name != "mul" and node.name not in PRODUCTS:
            return False
        values = [self._value(node, place) for place in range(len(node.operands))]
        return any(each is not None and not np.any(each) for each in values)

    def _value(self, node: Node, place: int) -> np.ndarray | None:
        given = self._given.get((node.path, place))
        return None if given is None else np.asarray(jax.device_get(given.value(self._values)))


def without_input(measurement: Measurement) -> dict[str, str]:
    """By weight with exactly no gradient, at the start and after some steps: its layer, if that gets some."""
    reached = {each.name for each in measurement.layers if each.delta_norm}
    return {
        leaf.name: leaf.layer
        for leaf in measurement.parameters
        if leaf.connection is Connection.CONNECTED
        and leaf.gradient_max == 0
        and leaf.nonzero_after_steps is False
        and len(leaf.shape) > 1
        and leaf.layer in reached
    }


def cleared_inputs(program: Program, weights: Mapping[str, str], cleared: Cleared) -> Iterator[GradientEnd]:
    """Of layers all of whose such weights are used once, times an array of the batch that is 0 everywhere."""
    used: dict[str, list[Node]] = {}
    for node in program.graph.nodes if weights else ():
        for operand in node.operands if node.name not in VIEWS else ():
            leaf = behind(operand, VIEWS)
            if leaf.node is None and leaf.reads and leaf.position is not None:
                used.setdefault(program.leaves[leaf.position].name, []).append(node)
    for layer in dict.fromkeys(weights.values()):
        own = [used.get(name, []) for name, of in weights.items() if of == layer]
        if all(len(nodes) == 1 and cleared.clears(nodes[0]) for nodes in own):
            node = own[0][0]
            yield GradientEnd(node.name, source_of(node.eqn, node.calls), layer, cleared=True)

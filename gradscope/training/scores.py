"""Scores of classes that are far apart at the start, and the training with them divided by that."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from gradscope.records import Measurement, ShortTraining, TriedScores
from gradscope.records.training import FAR_ABOVE, STILL_ABOVE
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.graph import Node, Quantity
from gradscope.trace.jaxprs.rewriting import with_functions
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.spliced import Spliced
from gradscope.trace.vocabulary import VIEWS
from gradscope.training.trainer import Trainer
from gradscope.training.variants import tried_variant


def tried_scores(
    program: Program, made: Trainer, record: ShortTraining, measured: Measurement, first: Inputs
) -> TriedScores | None:
    """`None` where the loss is no cross-entropy of classes alone, where it does not begin far above that of
    equal probabilities or comes down, and where the scores are made more than once."""
    entropies = measured.objective.cross_entropies
    uniform = math.log(entropies[0].classes) if len(entropies) == 1 else math.inf
    if not FAR_ABOVE * uniform < record.start < math.inf or record.end <= STILL_ABOVE * uniform:
        return None
    found = _softmax(program)
    if found is None:
        return None
    node, axes = found
    deviation = _deviation(program, node, axes, first)
    if not 1 < deviation < math.inf:
        return None

    def divided(*operands: Any) -> Any:
        return jaxprs.run_equation(node.eqn, list(operands))[0] / deviation

    tried = tried_variant(made, with_functions(program.body, {id(node.eqn): divided}), record.steps)
    return None if tried is None else TriedScores(source_of(node.eqn, node.calls), deviation, tried)


def _softmax(program: Program) -> tuple[Node, tuple[int, ...]] | None:
    """What makes the scores of the last softmax, and the axes of the classes."""
    nodes = program.graph.nodes
    for node in reversed(nodes):
        if node.name != "sub" or len(node.operands) != 2 or not node.operands[0].grad:
            continue
        scores, peak = node.operands[0], _behind(node.operands[1])
        if peak is None or peak.name != "reduce_max" or peak.operands[0] is not scores:
            continue
        made = scores.node
        if made is None or len(made.results) != 1 or sum(each.eqn is made.eqn for each in nodes) > 1:
            return None
        (moves,) = jaxprs.moves(peak.eqn) or [()]
        return made, tuple(axis for axis, to in enumerate(moves) if to is None)
    return None


def _behind(value: Quantity) -> Node | None:
    """Past bounds that keep a maximum finite."""
    node = value.node
    while node is not None and (node.name in VIEWS or node.name in ("stop_gradient", "max", "select_n")):
        cases = node.operands[1:] if node.name == "select_n" else node.operands
        node = next((each.node for each in cases if each.reads), None)
    return node


def _deviation(program: Program, node: Node, axes: tuple[int, ...], first: Inputs) -> float:
    """Of the scores of one example, over all of them."""
    spot = (node.path, -1)

    def reduced(*arguments: Any) -> Any:
        scores = Spliced([spot]).outcome(program.body, arguments, {})[1][0].astype(jnp.float32)
        return jnp.sqrt(jnp.mean(jnp.var(scores, axis=axes)))

    arguments = *first.weights, *first.others
    return float(compile_program(reduced, arguments, runs=1)(*arguments))

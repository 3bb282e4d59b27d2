"""The entropy of a choice among the terms of the loss, and the training without it.

It is a function of what the model puts out alone, and stands beside a term in which the batch says what is
wanted. Other terms of that kind, as the logarithm of a standard deviation, may be what keeps that term from
being trivial.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from gradscope.records import OutweighedTerms
from gradscope.trace.changed import Change, Changed
from gradscope.trace.domains.data_meetings import data_meetings
from gradscope.trace.graph import Node, Quantity, behind, upstream
from gradscope.trace.leaves import norm
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of
from gradscope.trace.spliced import Spot
from gradscope.trace.summands import summands
from gradscope.trace.vocabulary import VIEWS
from gradscope.training.optimizer import Leaves
from gradscope.training.other_losses import OtherLoss
from gradscope.training.penalties import of_weights_alone
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

STRONG = 0.5
"""Norm of their gradient over that of the terms that compare, before the first step or after the last one:
from there on it is tried without. Where they have won, the two hold each other up."""
_ON_THE_WAY = VIEWS | {"neg", "add", "max"}
"""Views, signs and a small number that keeps a logarithm finite."""


def outweighed_terms(
    program: Program, made: Trainer, weights: Leaves, steps: int, batches: int
) -> OutweighedTerms | None:
    """More than the steps of the short training without them, where these are strong; `weights` are those
    after its last step."""
    found = _free_of_data(program) if steps >= USUAL_STEPS else []
    if not found:
        return None
    first, later = made.feed.at(0, made.weights), made.feed.at(0, weights)
    changes = {path: _without(operand) for (path, operand), _ in found}
    rest = OtherLoss(program, lambda _: Changed(changes, {}), first, ())
    strong = max(
        _share(made.gradients()[1], rest(first, ())[1]),
        _share(made.flow.gradients(later), rest(later, ())[1]),
    )
    if not strong >= STRONG:
        return None
    count = LONGER * steps
    without = made.run(count, Modification(loss=lambda inputs, _: rest(inputs, ()))).weights
    start, end_with, end_without = (
        rest.mean(made, each, batches, [()])[0] for each in (made.weights, made.unchanged(count), without)
    )
    node = found[0][1]
    return OutweighedTerms(
        source=source_of(node.eqn, node.calls),
        share=strong,
        steps=count,
        start=start,
        end_with=end_with,
        end_without=end_without,
    )


def _without(operand: int) -> Change:
    def changed(values: list[Any]) -> list[Any]:
        return [jnp.zeros_like(each) if place == operand else each for place, each in enumerate(values)]

    return changed


def _share(whole: Leaves, rest: Leaves) -> float:
    """Norm of what is not of the rest over that of the rest."""
    size = norm(rest)
    own = norm([all_of_it - part for all_of_it, part in zip(whole, rest, strict=True)])
    return own / size if math.isfinite(own) and size > 0 else math.nan


def _free_of_data(program: Program) -> list[tuple[Spot, Node]]:
    """The entropies in sums that read the batch through the model alone, where another term compares with
    it: as which operand they go in, and what makes each."""
    loss = program.graph.outs[0]
    if len(summands(loss)) < 2:
        return []
    compared = {each.path for each in data_meetings(program.body, len(program.leaves)) if each.outputs}

    def compares(value: Quantity) -> bool:
        return not compared.isdisjoint(node.path for node in upstream([value]))

    def free(value: Quantity) -> bool:
        return bool(value.grad) and not of_weights_alone(value) and not compares(value)

    if not compared or free(loss):
        return []
    found = [each for each in summands(loss, free) if free(each.value) and _is_entropy(each.value)]
    return [((each.use[0].path, each.use[1]), each.at or each.use[0]) for each in found if each.use]


def _is_entropy(value: Quantity) -> bool:
    """A sum of p log p, whose p is the exponential of that logarithm or whose logarithm is that of p."""
    for node in upstream([value]):
        if node.name != "mul":
            continue
        p, log_p = (behind(each, _ON_THE_WAY) for each in node.operands)
        if _made_by(p, "exp", log_p) or _made_by(log_p, "exp", p):
            return True
        if _made_by(p, "log", log_p) or _made_by(log_p, "log", p):
            return True
    return False


def _made_by(result: Quantity, name: str, operand: Quantity) -> bool:
    node = result.node
    return node is not None and node.name == name and behind(node.operands[0], _ON_THE_WAY) is operand

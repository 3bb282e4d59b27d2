"""Terms of the loss that are functions of the weights alone, and the training without them.

The loss is linear in its summands, so that what they add to it is its derivative along them: a small program,
in which nothing of the data is left. Without them the loss is the loss less that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradscope.records import UnpenalizedTraining
from gradscope.trace.compiling import compile_program
from gradscope.trace.graph import Node, Quantity, upstream
from gradscope.trace.jaxprs import Body
from gradscope.trace.leaves import norm
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.spliced import Spliced, Spot
from gradscope.trace.summands import summands
from gradscope.training.optimizer import Leaves
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

STRONG = 1.0
"""Norm of the penalties' gradient over that of the rest, at the start: from there on it is tried without."""

ROUNDING = 1e-2
"""Of the rise from weights of 0: half precision may miss evenness by so much."""


class Penalty:
    """What all penalties together add to the loss, and its gradient."""

    def __init__(self, program: Program, spots: Sequence[Spot], inputs: Inputs) -> None:
        others, consts = list(inputs.others), list(program.body.consts)

        def added(weights: Leaves) -> Any:
            arguments = [*weights, *others]
            _, values = Spliced(spots).outcome(Body(program.body.jaxpr, consts), arguments, {})

            def loss(values: list[Any]) -> Any:
                puts = dict(zip(spots, values, strict=True))
                return Spliced([], spots).outcome(Body(program.body.jaxpr, consts), arguments, puts)[0]

            return jax.jvp(loss, (values,), (values,))[1]

        self._run = compile_program(jax.value_and_grad(added), (inputs.weights,), runs=1)

    def __call__(self, weights: Leaves) -> tuple[Any, Leaves]:
        return self._run.start(weights)  # type: ignore[no-any-return]


def unpenalized(program: Program, made: Trainer, steps: int, batches: int) -> UnpenalizedTraining | None:
    """More than the steps of the short training without the penalties, where these are strong at first."""
    found = list(_penalties(program)) if steps >= USUAL_STEPS else []
    if not found:
        return None
    penalty = Penalty(program, [spot for spot, _ in found], made.feed.at(0, made.weights))
    own, whole = penalty(made.weights)[1], made.gradients()[1]
    size = norm(own)
    rest = norm([all_of_it - part for all_of_it, part in zip(whole, own, strict=True)])
    if not (math.isfinite(size) and math.isfinite(rest) and size >= STRONG * rest > 0):
        return None
    if not _pulls_to_zero(penalty, made.weights):
        return None
    count = LONGER * steps

    def loss(weights: Leaves) -> float:
        return made.mean_loss(weights, batches)[0] - float(penalty(weights)[0])

    without = made.run(count, Modification(without=penalty)).weights
    node = found[0][1]
    return UnpenalizedTraining(
        source=source_of(node.eqn, node.calls),
        share=size / rest,
        steps=count,
        start=loss(made.weights),
        end_with=loss(made.unchanged(count)),
        end_without=loss(without),
        at_zero=loss([jnp.zeros_like(weight) for weight in made.weights]),
    )


def _pulls_to_zero(penalty: Penalty, weights: Leaves) -> bool:
    """Whether the sign of all weights does not matter, and it falls on the straight way to 0: a norm, and no
    normalizing constant of a density, nor an energy with a minimum elsewhere."""
    at = {
        part: float(penalty([jnp.asarray(part, each.dtype) * each for each in weights])[0])
        for part in (-1.0, 0.0, 0.25, 0.5, 1.0)
    }
    rise = at[1.0] - at[0.0]
    even = abs(at[-1.0] - at[1.0]) <= ROUNDING * abs(rise)
    return even and at[0.0] < at[0.25] < at[0.5] < at[1.0]


def _penalties(program: Program) -> Iterator[tuple[Spot, Node]]:
    """The summands that read weights, and nothing of the batch or of the key."""
    graph = program.graph
    found = summands(graph.outs[0])
    if len(found) < 2:
        return
    alone = [each for each in found if each.fixed and of_weights_alone(each.value)]
    if len(alone) == len(found):
        return
    for each in alone:
        node = each.value.node
        if node is not None and each.value.grad:
            yield (node.path, -1 - node.results.index(each.value)), node


def of_weights_alone(value: Quantity) -> bool:
    """Whether it reads nothing of the batch or of the key."""
    given = (each for node in upstream([value]) for each in node.operands if each.node is None)
    return all(each.reads or each.number is not None for each in given)

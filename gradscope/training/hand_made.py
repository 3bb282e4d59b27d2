"""A gradient that a rule of the file makes on purpose otherwise than backpropagation: its angle to that, and
both trained."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.measure.measurement import rows_of
from gradscope.records import HandMadeGradient, LayerAngle, Source
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body, RuleKey
from gradscope.trace.jaxprs.inlining import live
from gradscope.trace.jaxprs.programs import as_program
from gradscope.trace.jaxprs.rewriting import without_custom_rules
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import Floats
from gradscope.training.agreement import cosine, products_of
from gradscope.training.optimizer import Leaves
from gradscope.training.room import has_room
from gradscope.training.trainer import Modification, Trainer

RUNS = 100


def hand_made_gradient(
    program: Program,
    made: Trainer,
    later: Leaves,
    rules: Collection[RuleKey],
    about: tuple[str, Source | None],
    steps: int,
    batches: int,
) -> HandMadeGradient | None:
    """`later`: the weights after so many steps with the rules of the file; `about`: name and line of the
    first of `rules`. `None` where two gradients do not fit beside each other."""
    if not has_room(made.weights * 2):
        return None
    true = _Backpropagated(program, rules, made.feed.at(0, made.weights))
    points = [
        _products(program, made.flow.gradients(inputs), true(inputs)[1])
        for inputs in (made.feed.at(0, each) for each in (made.weights, later))
    ]
    end_true = made.run(steps, Modification(loss=lambda inputs, _: true(inputs))).weights
    start, end, with_true = (made.mean_loss(each, batches)[0] for each in (made.weights, later, end_true))
    angles = []
    for group, row, _ in rows_of(program):
        each = [[leaf[row.index] for leaf in (point[place] for place in group.leaves)] for point in points]
        angles.append(LayerAngle(row.name, *(_degrees(products) for products in each)))
    return HandMadeGradient(
        function=about[0],
        source=about[1],
        angles=tuple(angles),
        steps=steps,
        batches=batches,
        start=start,
        end=end,
        end_backpropagated=with_true,
        feedback=true.unread(program),
    )


class _Backpropagated:
    """The loss and its gradients with the functions of these rules differentiated as they are written."""

    def __init__(self, program: Program, rules: Collection[RuleKey], inputs: Inputs) -> None:
        self._body = without_custom_rules(program.body, rules)
        jaxpr = self._body.jaxpr
        self._consts = list(program.body.consts)

        def loss(weights: Leaves, others: Leaves, consts: Leaves) -> Any:
            return jnp.asarray(as_program(Body(jaxpr, consts))(*weights, *others)[0])

        arguments = inputs.weights, inputs.others, self._consts
        self._run = compile_program(jax.value_and_grad(loss), arguments, runs=RUNS)

    def __call__(self, inputs: Inputs) -> tuple[Any, Leaves]:
        return self._run.start(inputs.weights, inputs.others, self._consts)  # type: ignore[no-any-return]

    def unread(self, program: Program) -> tuple[str, ...]:
        """Leaves that the loss does not depend on."""
        wanted = [place == 0 for place in range(len(self._body.jaxpr.outvars))]
        used = live(self._body, wanted)[1]
        return tuple(leaf.name for leaf, read in zip(program.leaves, used, strict=False) if not read)


def _products(program: Program, own: Leaves, true: Leaves) -> list[Floats]:
    found = jax.jit(lambda own, true: products_of(program, [own, true]))(own, true)
    return [np.asarray(each, np.float64) for each in jax.device_get(found)]


def _degrees(products: Sequence[Floats]) -> float | None:
    found = cosine(products, 0, 1)
    return None if found is None else math.degrees(math.acos(max(-1.0, min(1.0, found))))

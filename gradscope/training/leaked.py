"""Targets in the input of the model: whether it reads them, told by exchanging them among the rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.measure.leaks.association import association
from gradscope.measure.leaks.copied import CopiedColumns, copied_columns, copied_tokens
from gradscope.measure.leaks.trial import Trials
from gradscope.records import LeakedTarget
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of
from gradscope.trace.spliced import Spliced
from gradscope.training.optimizer import Leaves
from gradscope.training.trainer import Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS


def leaked_target(program: Program, made: Trainer, steps: int) -> LeakedTarget | None:
    """`steps` are those of the short training; with few, columns are not tried and not told."""
    trials = Trials(program, made.feed.drawn[0], made.feed.at(0, made.weights))
    tokens = copied_tokens(trials)
    if tokens is not None:
        return LeakedTarget(
            source_of(tokens.compared.meeting.eqn, tokens.compared.meeting.calls),
            _names(trials, tokens.fed.given.inputs),
            _names(trials, tokens.compared.meeting.given.inputs),
            position=tokens.position,
            length=tokens.length,
            change=tokens.change,
        )
    columns = copied_columns(trials) if steps >= USUAL_STEPS and not made.searches else None
    found = None if columns is None else _in_all_batches(program, made, columns)
    if columns is None or found is None:
        return None
    rest, target = (
        np.concatenate(each) for each in zip(*((one.rest(), one.target) for one in found), strict=True)
    )
    elsewhere, by_chance = association(rest, target)
    meeting, count = columns.compared.meeting, LONGER * steps
    loss = _WithValue(program, made, columns)
    weights = made.unchanged(count)
    return LeakedTarget(
        source_of(meeting.eqn, meeting.calls),
        _names(trials, columns.fed[0].given.inputs),
        _names(trials, meeting.given.inputs),
        columns=columns.columns,
        last=columns.last,
        steps=count,
        start=loss(made.weights, columns.value),
        end=loss(weights, columns.value),
        exchanged=loss(weights, columns.permuted()),
        elsewhere=elsewhere,
        by_chance=by_chance,
    )


def _in_all_batches(program: Program, made: Trainer, first: CopiedColumns) -> list[CopiedColumns] | None:
    """Those of each batch that was drawn; `None` where one of them has others."""
    columns = [first]
    for step, batch in enumerate(made.feed.drawn[1:], 1):
        found = copied_columns(Trials(program, batch, made.feed.at(step, made.weights)))
        if found is None or (found.columns, found.last) != (first.columns, first.last):
            return None
        columns.append(found)
    return columns


def _names(trials: Trials, places: Iterable[int]) -> str:
    found = filter(None, (trials.name(place) for place in sorted(places)))
    return ", ".join(name if name[0].isalpha() else f"batch{name}" for name in found)


class _WithValue:
    """The loss of the first batch, as a function of the weights and of what comes in at these places."""

    def __init__(self, program: Program, made: Trainer, columns: CopiedColumns) -> None:
        spots = [(each.path, each.operand) for each in columns.fed]
        self._others, self._consts = made.feed.at(0, made.weights).others, list(program.body.consts)

        def loss(weights: Leaves, others: Leaves, consts: Leaves, value: Any) -> Any:
            body = Body(program.body.jaxpr, consts)
            return Spliced([], spots).outcome(body, [*weights, *others], dict.fromkeys(spots, value))[0]

        given = made.weights, self._others, self._consts, jnp.asarray(columns.value)
        self._run = compile_program(loss, given, runs=3)

    def __call__(self, weights: Leaves, value: Any) -> float:
        return float(self._run(weights, self._others, self._consts, jnp.asarray(value)))

"""Dropout behind the last layer, or that keeps little: how much it keeps, and the training without it.

Without it each value is multiplied by the mean of its mask, whatever the program divides it by: what dropout
is for evaluation, inverted or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import Dropout, DropoutTrial
from gradscope.trace.changed import Changed
from gradscope.trace.compiling import compile_program
from gradscope.trace.domains.dropout import Drop, dropouts
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.walk import Path
from gradscope.training.other_losses import OtherLoss
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

LITTLE = 0.3
"""Share of the values: where dropout inside keeps less, it is tried without. Usual rates go up to 0.5, in old
language models to 0.65."""
AGREES = 5.0
"""Standard deviations of a share of so many elements."""
DRAWS = 32
"""Over which masks are counted."""


def dropped_values(program: Program, made: Trainer, steps: int) -> Iterator[Dropout]:
    """By dropout that is told, in the order of the program; the trial is that of all of them together."""
    every = dropouts(program.body, program.plan, len(program.leaves))
    if not every:
        return
    counts = counted(program, made, every)
    shares = {drop.path: kept / total for drop, (kept, total, _) in zip(every, counts, strict=True) if total}
    told = [drop for drop in every if shares.get(drop.path, 1.0) < (1.0 if drop.last else LITTLE)]
    if not told:
        return
    means = {drop.path: _mean(drop, *found) for drop, found in zip(every, counts, strict=True)}
    tried = _tried(program, made, steps, told, means) if steps >= USUAL_STEPS and not made.searches else None
    layers = program.layer_names
    for drop, (kept, total, _) in zip(every, counts, strict=True):
        if drop in told:
            yield Dropout(
                source=source_of(drop.eqn, drop.calls),
                layer=None if drop.site is None else layers.get(drop.site),
                kept=kept,
                total=total,
                last=drop.last,
                trial=tried,
            )


def _mean(drop: Drop, kept: int, total: int, value: float) -> float:
    """Of the mask: as the program asks for it, where what it keeps agrees with that."""
    if not kept:
        return 0.0
    asked, share = drop.asked, kept / total
    if asked is not None and abs(share - asked) <= AGREES * math.sqrt(asked * (1 - asked) / total):
        share = asked
    return share * value / kept


class _CountedMasks(Changed):
    """Sums over all elements of masks: those that keep, all of them, and their values."""

    def __init__(self, drops: Sequence[Drop]) -> None:
        # The functions around are taken apart, too, where nothing changes.
        super().__init__({drop.path: lambda values: values for drop in drops}, {})
        self._drops = {drop.path: drop for drop in drops}

    def seen(self, path: Path, values: list[Any], state: Any) -> Any:
        drop = self._drops.get(path)
        if drop is None:
            return state
        found = jnp.asarray(values[drop.mask])
        if drop.kept is not None:
            found = found == (drop.kept == 2)
        value = jnp.real(found).astype(jnp.float32)
        seen = jnp.stack([jnp.sum(value != 0, dtype=jnp.float32), jnp.float32(value.size), jnp.sum(value)])
        return {**state, path: state[path] + seen}


def counted(program: Program, made: Trainer, drops: Sequence[Drop]) -> list[tuple[int, int, float]]:
    """Of each mask over several draws: elements that it keeps, all of them, and the sum of its values."""
    zeros = {drop.path: jnp.zeros(3, jnp.float32) for drop in drops}

    def run(weights: Any, others: Any, consts: Any) -> Any:
        body = Body(program.body.jaxpr, consts)
        return _CountedMasks(drops).run(body, [*weights, *others], zeros)[1]

    consts = list(program.body.consts)
    inputs = [made.feed.at(step, made.weights) for step in range(DRAWS)]
    compiled = compile_program(run, (inputs[0].weights, inputs[0].others, consts), runs=DRAWS)
    found = jax.device_get([compiled(each.weights, each.others, consts) for each in inputs])
    sums = {path: np.sum([np.asarray(one[path], np.float64) for one in found], axis=0) for path in zeros}
    return [(round(k), round(n), float(v)) for k, n, v in (sums[drop.path] for drop in drops)]


def _tried(
    program: Program, made: Trainer, steps: int, told: Sequence[Drop], means: dict[Path, float]
) -> DropoutTrial:
    changes = {drop.path: _without(drop, means[drop.path]) for drop in told}
    loss = OtherLoss(program, lambda _: Changed(changes, {}), made.feed.at(0, made.weights), ())

    def without(inputs: Inputs, step: int) -> Any:
        del step
        return loss(inputs, ())

    count, batches = LONGER * steps, made.feed.used(steps)
    ends = made.unchanged(count), made.run(count, Modification(loss=without)).weights
    zeros = [jnp.zeros_like(weight) for weight in made.weights]
    losses = [loss.mean(made, weights, batches, [()])[0] for weights in (made.weights, *ends, zeros)]
    return DropoutTrial(count, *losses)


def _without(drop: Drop, mean: float) -> Any:
    def change(values: list[Any]) -> list[Any]:
        values = list(values)
        if drop.kept is None:
            values[drop.mask] = jnp.full_like(values[drop.mask], mean)
        else:
            values[0] = jnp.full_like(values[0], drop.kept == 2)
            values[drop.kept] = values[drop.kept] * jnp.asarray(mean, values[drop.kept].dtype)
        return values

    return change

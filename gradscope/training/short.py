"""The short training of a check: what the user's optimizer does in its first steps, and what would help.

Three steps tell what is exact: whether an update arrives, which way it goes, what is never moved. Whether the
loss falls takes more of them. How many are run depends on what one of them computes and never on a clock, so
that a slow machine gives the same verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from gradscope.load.problem import Problem
from gradscope.load.usercode.fault import Looks
from gradscope.measure.flow import Begun, FlowPass, Sample
from gradscope.measure.leaf_statistics import LeafStatistics
from gradscope.measure.readings import Reading
from gradscope.records import LeafUpdate, RowSpread, ShortTraining, Skipped
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.training.batches import StepBatches
from gradscope.training.constant_data import constant_arrays
from gradscope.training.how_many import steps_of
from gradscope.training.labels import label_mixing
from gradscope.training.noise import gradient_noise
from gradscope.training.optimizer import StepRule
from gradscope.training.room import require_room
from gradscope.training.row_spread import looks_collapsed, row_spreads
from gradscope.training.schedules import decayed_rate, warm_up
from gradscope.training.standardized import standardized_arrays
from gradscope.training.step_numbers import (
    ARRIVED,
    ASKED,
    GRADIENT_MAX,
    RAW,
    UNCHANGED,
    UPDATE_MAX,
    UPHILL,
    WANTED,
    Floats,
    cosine_of,
    numbers_of_updates,
)
from gradscope.training.symmetry import equal_units
from gradscope.training.trainer import Trainer, Trajectory
from gradscope.training.trials import bad_batch, critical_step, later, trials


@dataclass(frozen=True)
class Trained:
    record: ShortTraining
    updates: list[Reading] | None
    """By leaf, of what the problem's own optimizer asks for at the first step."""
    weights: list[Any]
    """After the last step."""
    gradients: list[Any]
    """At the last step."""
    after: Sample
    """Of the first batch, after the last step."""
    trainer: Trainer
    """For further runs from the same start."""
    skipped: tuple[Skipped, ...]
    """What of it could not be looked at, and batches that were passed over."""


def short_training(
    problem: Problem,
    tracer: Tracer,
    program: Program,
    flow: FlowPass,
    first: Inputs,
    batches: tuple[Sequence[Any], Iterator[Any]],
    steps: int | None,
    begun: Begun | None = None,
) -> Trained:
    """`batches` are those drawn so far and the pass that goes on after them; `steps` is `None` where their
    number is to be chosen; `begun` is what the flow pass hands out of the first batch. Raises `TooLarge`, and
    whatever the optimizer raises."""
    count = steps if steps is not None else steps_of(program)
    made = trainer_of(problem, tracer, flow, first, batches, begun)
    rule, feed = made.rule, made.feed
    run, after = made.watched(count)
    looks = Looks()
    unknown: tuple[float, list[tuple[float | None, bool]]] = (0.0, [(None, False)] * len(program.leaves))
    unseen: tuple[int, int | None, float | None] = 0, 1, None
    fresh, ascent = looks.taken("which way updates go", lambda: _ascent(made, run), unknown)
    still, moves_at, growth = unseen
    if rule.own:
        still, moves_at, growth = looks.taken("later updates", lambda: later(made, run, program), unseen)
    arrays = looks.listed("scales of the batch", lambda: standardized_arrays(made, program, first, count))
    tried = looks.listed(
        "other learning rates", lambda: trials(made, run, growth, feed.used(count), own=rule.own)
    )
    noise = looks.taken(
        "noise of the gradient", lambda: gradient_noise(made, feed.used(count), tuple(tried)), None
    )
    decayed = looks.taken("the schedule", lambda: decayed_rate(made, run, feed.used(count)), None)
    warming = looks.taken("the warm-up", lambda: warm_up(made, run, growth), None)
    critical = looks.taken("the first step", lambda: critical_step(made, run) if rule.own else None, None)
    spreads = looks.listed("likeness of examples", lambda: _spreads(made, program, first, run))
    labels = looks.listed("labels", lambda: label_mixing(program, first, feed.drawn))
    constant = looks.listed("rows of the batch", lambda: constant_arrays(program, first, feed.drawn))
    names = {leaf: group.name for group in program.layers for leaf in group.leaves}
    record = ShortTraining(
        optimizer=rule.name,
        own=rule.own,
        restored=made.restored,
        steps=count,
        losses=tuple(run.losses),
        start=run.losses[0],
        end=run.end,
        batches=feed.used(count),
        leaves=tuple(
            replace(
                _leaf(program, leaf, names[leaf], run.leaves[:, leaf], *ascent[leaf]),
                equal_units=equal_units(first.weights[leaf], run.weights[leaf], run.gradients[leaf]),
            )
            for leaf in range(len(program.leaves))
        ),
        bad_batch=looks.taken("batches at the start", lambda: bad_batch(made, run), None),
        update_max=float(np.max(run.leaves[:, :, UPDATE_MAX], initial=0.0)),
        fresh_update_max=fresh,
        trials=tuple(tried),
        standardized=tuple(arrays),
        labels=tuple(labels),
        constant=tuple(constant),
        spreads=tuple(spreads),
        warm_up=warming,
        decayed_rate=decayed,
        noise=noise,
        critical=critical,
        still_steps=still,
        moves_at=moves_at,
        growth=growth,
    )
    updates = _readings(program, run) if rule.own else None
    skipped = (*feed.passed_over(), *looks.failed)
    return Trained(record, updates, run.weights, run.gradients, after, made, skipped)


def trained_from(
    problem: Problem,
    tracer: Tracer,
    flow: FlowPass,
    first: Inputs,
    batches: tuple[Sequence[Any], Iterator[Any]],
    steps: int,
) -> Trajectory:
    """So many steps, for their end alone. Raises as `short_training` does."""
    return trainer_of(problem, tracer, flow, first, batches).run(steps)


def trainer_of(
    problem: Problem,
    tracer: Tracer,
    flow: FlowPass,
    first: Inputs,
    batches: tuple[Sequence[Any], Iterator[Any]],
    begun: Begun | None = None,
) -> Trainer:
    """From the start of a problem. Raises `TooLarge`."""
    rule = StepRule.of(problem, tracer)
    require_room(rule, first.weights)
    return Trainer(flow, rule, StepBatches(problem, tracer, *batches), first.weights, begun)


def _readings(program: Program, run: Trajectory) -> list[Reading]:
    """Reduced as the flow pass reduces the gradients."""
    leaves = LeafStatistics(program)
    gains = leaves.gains()
    found = jax.device_get(jax.jit(leaves.reduced)(run.first, gains))
    return leaves.read(found, gains)


def _leaf(
    program: Program, leaf: int, layer: str, seen: Floats, ascent: float | None, raw: bool
) -> LeafUpdate:
    about, asked = program.leaves[leaf], seen[:, ASKED].sum()
    sizes = seen[:, UPDATE_MAX]
    usable = np.isfinite(seen).all(axis=1) & (sizes > 0)
    scale = sizes[usable] / sizes[usable].max(initial=0.0)
    square = float(np.sum(seen[usable, WANTED] * scale**2))
    arrived = float(np.sum(seen[usable, ARRIVED] * scale**2))
    return LeafUpdate(
        name=about.name,
        layer=layer,
        dtype=about.dtype,
        size=about.size,
        gradient=bool(np.any(seen[:, GRADIENT_MAX] != 0)),
        moved=bool(np.any(sizes != 0)),
        unchanged_share=float(seen[:, UNCHANGED].sum() / asked) if asked else 0.0,
        arrived_share=arrived / square if square else math.nan,
        ascent=ascent,
        raw=raw,
    )


def _spreads(made: Trainer, program: Program, first: Inputs, run: Trajectory) -> Iterator[RowSpread]:
    if looks_collapsed(program, made.gradients()[1]):
        yield from row_spreads(program, made.feed.drawn[0], first, run.weights)


def _ascent(made: Trainer, run: Trajectory) -> tuple[float, list[tuple[float | None, bool]]]:
    """The largest element of a first update from a fresh state; and by leaf, the cosine of that update and
    the gradient, and whether they are the same bits.

    Where a fresh optimizer seems to go uphill, what it adds to a gradient of zero is taken off: decay pulls
    a weight towards zero, whichever way the gradient points.
    """
    if made.restored:
        loss, gradients = made.gradients()
        updates = made.fresh_update(gradients, loss)
        seen = numbers_of_updates(gradients, updates)
    else:
        loss = gradients = None
        seen = run.leaves[0]
    fresh = float(np.max(seen[:, UPDATE_MAX], initial=0.0))
    found = [cosine_of(row) for row in seen]
    if any(each is not None and each > 0 for each in found):
        if gradients is None:
            loss, gradients = made.gradients()
        nothing = made.fresh_update([jax.numpy.zeros_like(each) for each in gradients], loss)
        updates = made.fresh_update(gradients, loss)
        alone = [update - without for update, without in zip(updates, nothing, strict=True)]
        probed = [cosine_of(row) for row in numbers_of_updates(gradients, alone)]
        climbs = _climbs(run)
        found = [
            cosine if cosine is None or cosine <= 0 else (own if own is not None else cosine) if up else 0.0
            for cosine, own, up in zip(found, probed, climbs, strict=True)
        ]
    raw = [bool(row[RAW]) for row in seen]
    return fresh, [(each, same and each is not None) for each, same in zip(found, raw, strict=True)]


def _climbs(run: Trajectory) -> list[bool]:
    """By leaf, whether the products of update and gradient over all steps add up to more than 0."""
    with np.errstate(all="ignore"):
        sizes = run.leaves[:, :, UPDATE_MAX] * run.leaves[:, :, GRADIENT_MAX]
        total = np.sum(run.leaves[:, :, UPHILL] * sizes, axis=0)
    return [not up <= 0 for up in total]

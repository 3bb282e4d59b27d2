"""What is tried where a short training does not go well: the optimizer alone, and the same steps changed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradscope.records import Intervention
from gradscope.records.training import GROWING, LATER_STEPS, SMALLEST_PART
from gradscope.trace.program import Program
from gradscope.training import step_numbers
from gradscope.training.optimizer import Leaves, stepped
from gradscope.training.step_numbers import Floats
from gradscope.training.trainer import Modification, Trainer, Trajectory

USUAL_STEPS = 20
LATER_WORK = 3e8
"""Elements updated in all further steps of the optimizer alone."""
LOWERED = 0.1, 0.01, 0.001
FURTHER = tuple(10.0**-power for power in range(4, 13))
"""Tried where none of `LOWERED` lowers the loss: inputs of 1e5 want a rate of 1e-11."""
RAISED = 10.0, 1e2, 1e3, 1e4, 1e5, 1e6
ENOUGH = 0.1
"""Of the loss: a higher rate that lowers it by so much need not be raised further."""
LONGER = 5
"""Times as many steps tell whether a loss that rises comes down again, and what a scale is worth."""


def later(made: Trainer, run: Trajectory, program: Program) -> tuple[int, int | None, float | None]:
    """Further steps tried where nothing moved, the first step that moves, and how the updates grow."""
    largest = run.leaves[:, :, step_numbers.UPDATE_MAX].max(axis=1, initial=0.0)
    moving = np.flatnonzero(largest > 0)
    size = sum(leaf.size for leaf in program.leaves)
    steps = int(min(LATER_STEPS, max(run.leaves.shape[0], LATER_WORK / max(size, 1))))
    if not moving.size:
        at, _ = _further(made, run, steps)
        return steps, None if at is None else at + len(largest), None
    if not _asks_for_more(run):
        return 0, int(moving[0]) + 1, None
    _, after = _further(made, run, steps)
    last = float(largest[moving[-1]])
    return 0, int(moving[0]) + 1, float(np.max(after)) / last if np.isfinite(after).all() else None


def _further(made: Trainer, run: Trajectory, steps: int) -> tuple[int | None, Floats]:
    """The optimizer alone, for further steps at the last gradient: the first step that moves anything,
    counted from 1, and the largest element of each step's update over all leaves."""
    largest = made.alone(run, run.state, steps)
    moving = np.flatnonzero(largest > 0)
    return (int(moving[0]) + 1 if moving.size else None), largest


def _asks_for_more(run: Trajectory) -> bool:
    """Whether a warm-up would explain what was seen: lost updates, or a loss that hardly moves."""
    return _mostly_lost(run) or _hardly_falls(run)


CRITICAL = *(4.0**-power for power in range(6)), SMALLEST_PART


def critical_step(made: Trainer, run: Trajectory) -> float | None:
    """The largest of a few parts of the first update at which the loss of the first batch is no higher than
    before it; 0 where it is at all of them, `None` where the loss does not rise in the short training."""
    start = run.losses[0]
    if not math.isfinite(start) or (math.isfinite(run.end) and run.end <= start):
        return None
    for part in CRITICAL:
        weights = [
            stepped(w, (u * part).astype(u.dtype)) for w, u in zip(made.weights, run.first, strict=True)
        ]
        loss = made.flow.loss(made.feed.at(0, weights))
        if float(loss) <= start:
            return part
    return 0.0


def _mostly_lost(run: Trajectory) -> bool:
    """In weights that float32 would widen."""
    narrow = [place for place, weight in enumerate(run.weights) if weight.dtype.itemsize < 4]
    seen = run.leaves.sum(axis=0)[narrow]
    asked, unchanged = seen[:, step_numbers.ASKED].sum(), seen[:, step_numbers.UNCHANGED].sum()
    return bool(asked and 2 * unchanged > asked)


SMALL_FALL = 0.02
"""Of the loss, in a short training: less than that may be a learning rate that is too low."""


def _hardly_falls(run: Trajectory) -> bool:
    start = run.losses[0]
    return math.isfinite(run.end) and start - run.end < SMALL_FALL * abs(start)


def trials(
    made: Trainer, run: Trajectory, growth: float | None, batches: int, *, own: bool
) -> Iterator[Intervention]:
    """What is tried where the user's optimizer does not lower the loss, or rounding eats its updates.

    One batch may rise while all of them fall: what is tried is told by the mean of several.
    """
    steps, start = len(run.losses), run.losses[0]
    if steps < USUAL_STEPS or not (own and math.isfinite(start)):
        return
    warm = growth is not None and growth >= GROWING
    lost = _mostly_lost(run) and not warm
    rises = not math.isfinite(run.end) or run.end > start
    slow = _hardly_falls(run) and not warm and not rises
    if not (lost or rises or slow):
        return
    before = made.mean_loss(made.weights, batches)

    def ended(change: str, factor: float, count: int, weights: Leaves) -> Intervention:
        return Intervention(change, factor, count, before[0], made.mean_loss(weights, batches)[0], before[1])

    yield ended("none", 1.0, steps, run.weights)
    if lost:
        yield ended("master-weights", 1.0, steps, made.run(steps, Modification(master=True)).weights)
    if rises:
        # A rate that suits may first overshoot: what counts is where it is some time later.
        count, suits = LONGER * steps, False
        yield ended("none", 1.0, count, made.unchanged(count))
        for factor in (*LOWERED, -1.0, *FURTHER):
            if suits and factor in FURTHER:
                break
            found = ended("factor", factor, count, made.run(count, Modification(factor=factor)).weights)
            yield found
            suits = suits or (factor > 0 and found.fall > SMALL_FALL * found.size)
    raised: list[Intervention] = []
    for factor in RAISED if slow else ():
        raised.append(ended("factor", factor, steps, made.run(steps, Modification(factor=factor)).weights))
        yield raised[-1]
        if not raised[-1].fall > 0 or raised[-1].fall > ENOUGH * raised[-1].size:
            break
    best = max(raised, key=lambda each: each.fall, default=None)
    if best is not None and best.fall > SMALL_FALL * best.size:
        count = LONGER * steps
        yield ended("none", 1.0, count, made.unchanged(count))
        yield ended("factor", best.factor, count, made.run(count, Modification(factor=best.factor)).weights)


def bad_batch(made: Trainer, run: Trajectory) -> int | None:
    """From 1: that of the first step whose loss is not finite, where its loss at the start is not, either."""
    step = next((step for step, loss in enumerate(run.losses) if not math.isfinite(loss)), 0)
    if step == 0 or math.isfinite(float(made.flow.loss(made.feed.at(step, made.weights)))):
        return None
    return step % len(made.feed.drawn) + 1

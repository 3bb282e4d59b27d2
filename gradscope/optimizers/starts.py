"""Where training ends from several starts: losses, distances, and the loss on the line between two ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem
from gradscope.optimizers.curves import median
from gradscope.optimizers.engines import Stepwise, TrainingRun
from gradscope.optimizers.feed import Feed, feed_of
from gradscope.optimizers.lattice import TrialSetting
from gradscope.optimizers.setup import SharedSetup
from gradscope.optimizers.training import Training, Weights
from gradscope.records import PairOfEnds, SeveralStarts
from gradscope.records.progress import Progress
from gradscope.trace.compiling import compile_program
from gradscope.trace.leaves import norm

POINTS = 11
"""On a line, with both ends."""
BATCHES = 10
"""The most on which a loss is measured, the same ones for all ends."""


def several_starts(
    start: Callable[[int], Problem],
    count: int,
    training: Training,
    setting: TrialSetting,
    setup: SharedSetup,
    progress: Progress,
) -> SeveralStarts:
    """Trains from `count` starts and compares the ends on the same batches."""
    first = setup.feeds[0]
    feeds = list(setup.feeds[:count])
    for seed in range(first.seed + len(feeds), first.seed + count):
        feeds.append(feed_of(start(seed), seed, first))
    if all(all(map(np.array_equal, first.weights, feed.weights)) for feed in feeds[1:]):
        return SeveralStarts(training.candidate.name, (), 0, 0.0, (), ())
    engine = Stepwise(training, setup.gradient, setup.budget)
    runs = [TrainingRun(setting, feed) for feed in feeds]
    for number, run in enumerate(runs, 1):
        progress(f"start {number} of {count}")
        engine.advance([run], setup.plan.steps)
    loss = _loss_on(training, first)
    alive = [run for run in runs if run.first_nonfinite() is None]
    ended = [(run, end, loss(end)) for run in alive for end in [_end_of(run, training)]]
    ended = [each for each in ended if np.isfinite(each[2])]
    pairs = []
    for (one, left, left_loss), (other, right, right_loss) in itertools.combinations(ended, 2):
        seeds = one.feed.seed, other.feed.seed
        progress(f"line between the ends of the seeds {seeds[0]} and {seeds[1]}")
        pairs.append(_pair(seeds, left, right, left_loss, right_loss, loss))
    return SeveralStarts(
        optimizer=training.candidate.name,
        seeds=tuple(run.feed.seed for run, _, _ in ended),
        batches=min(BATCHES, first.batches_per_pass or BATCHES),
        loss_before=median([loss(run.feed.weights) for run in runs]),
        losses=tuple(end_loss for _, _, end_loss in ended),
        pairs=tuple(pairs),
        diverged=count - len(ended),
    )


def _end_of(run: TrainingRun, training: Training) -> Weights:
    return training.evaluation_weights(run.weights, run.state)


def _pair(
    seeds: tuple[int, int],
    one: Weights,
    other: Weights,
    left: float,
    right: float,
    loss: Callable[[Weights], float],
) -> PairOfEnds:
    shares = np.linspace(0.0, 1.0, POINTS)
    line = [left, *(loss(_between(one, other, float(share))) for share in shares[1:-1]), right]
    chord = left + shares * (right - left)
    norms = norm(one), norm(other)
    return PairOfEnds(
        seeds=seeds,
        distance=norm([a - b for a, b in zip(one, other, strict=True)]) / (sum(norms) / 2.0 or 1.0),
        line=tuple(line),
        barrier=float(np.max(np.asarray(line) - chord)),
    )


def _between(one: Weights, other: Weights, share: float) -> Weights:
    return [((1.0 - share) * a + share * b).astype(a.dtype) for a, b in zip(one, other, strict=True)]


def _loss_on(training: Training, feed: Feed) -> Callable[[Weights], float]:
    """The mean loss of given weights over the first batches of one seed; infinite where it is not finite."""
    consts = list(training.program.body.consts)
    batches = list(feed.steps(min(BATCHES, feed.batches_per_pass or BATCHES)))
    args: tuple[Any, ...] = (feed.weights, batches[0], consts)
    run = compile_program(training.program.loss, args, runs=1_000)

    def loss(weights: Weights) -> float:
        found = [run(list(map(jnp.asarray, weights)), others, consts) for others in batches]
        mean = float(np.mean(np.asarray(jax.device_get(found), np.float64)))
        return mean if np.isfinite(mean) else np.inf

    return loss

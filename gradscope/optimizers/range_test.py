"""The learning-rate range test (Smith 2015, arXiv:1506.01186): an exponentially rising rate.

The suggestion is a tenth of the rate at which the smoothed loss was lowest, as the median over several
seeds; one seed alone can be 17 times off. The suggestion is a starting point, most often too low: the
comparison with a grid is in `docs/compare-optimizers.md`. The suggestions of other tools are listed by their
names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import optax

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers.candidates import CandidateOptimizer
from gradscope.optimizers.curves import ROUNDING, Floats, median
from gradscope.optimizers.engines import Stepwise, TrainingRun
from gradscope.optimizers.feed import Feed, feed_of
from gradscope.optimizers.floor import NO_FLOOR, ramps_without_end
from gradscope.optimizers.frozen import around, assigned, frozen_leaves
from gradscope.optimizers.lattice import TrialSetting
from gradscope.optimizers.own_rate import learning_rate_of
from gradscope.optimizers.results import written
from gradscope.optimizers.setup import require_finite
from gradscope.optimizers.training import Training, fitted
from gradscope.records import RangeTest, RateSearch
from gradscope.records.progress import Progress

LOWEST, HIGHEST = 1e-7, 10.0
FACTORS = 1e-4, 1e4
"""Factors on the updates of the user's optimizer, which has its own learning rate: as many decades."""
STEPS, SEEDS = 100, 5
FEWEST_STEPS = 20
STOP_AT = 4.0
"""Multiple of the best smoothed loss at which the test stops, as in fastai and Lightning."""
SMOOTHING = 0.9
"""Weight of the past in the bias-corrected mean: fastai's 0.98 lags by half of a hundred steps."""
FIRST_SHARE, LAST = 0.1, 5
"""Omitted at the beginning, where the mean has not settled, and at the end, where the loss rises."""


def find_rate(
    start: Callable[[int], Problem],
    candidate: CandidateOptimizer,
    *,
    seed: int,
    seeds: int,
    steps: int,
    progress: Progress,
) -> RateSearch:
    """The suggestion for one optimizer, and the curves it is based on."""
    _require(candidate, seeds, steps)
    low, high = FACTORS if candidate.unchanged else (LOWEST, HIGHEST)
    first = feed_of(start(seed), seed)
    schedule = optax.exponential_decay(low, steps - 1, high / low)
    frozen = _frozen(first, candidate)
    candidate = replace(candidate, usual_decay=None)
    training = fitted(Training(first.program(), first, candidate, schedule, frozen=frozen))
    progress("compiling")
    engine = Stepwise(training)
    rates = low * (high / low) ** (np.arange(steps) / (steps - 1))
    tests = []
    for number in range(seeds):
        progress(f"range test {number + 1} of {seeds}")
        feed = first if number == 0 else feed_of(start(seed + number), seed + number, first)
        tests.append(_test(engine, feed, rates))
    readings = [_trimmed(test) for test in tests]
    lowest = [_two_digits(rates[int(np.argmin(losses))] / 10.0) for rates, losses in readings]
    suggestion = _two_digits(median(lowest))
    usable = any(map(_fell, tests)) and not ramps_without_end(tests)
    code = candidate.written(written(suggestion), None) if usable else ""
    own_rate = learning_rate_of(first.problem.optimizer) if candidate.unchanged else None
    return RateSearch(
        optimizer=candidate.name,
        code=code,
        line=_line(code, suggestion, own_rate, first, frozen) if code else "",
        own_rate=own_rate,
        suggestion=suggestion,
        low=min(lowest),
        high=max(lowest),
        others={
            "valley": median([_valley(*reading) for reading in readings]),
            "steepest": median([_steepest(*reading) for reading in readings]),
        },
        tests=tuple(tests),
        step_seconds=float(np.median(engine.step_seconds)),
        warning=_warning(lowest, tests, steps),
        is_factor=candidate.unchanged,
    )


def _frozen(feed: Feed, candidate: CandidateOptimizer) -> tuple[bool, ...]:
    """What the user's own optimizer does not train stays as it is under another one."""
    optimizer = feed.problem.optimizer
    return () if candidate.unchanged or optimizer is None else frozen_leaves(feed, optimizer)


def _line(code: str, suggestion: float, own_rate: float | None, feed: Feed, frozen: Sequence[bool]) -> str:
    """What to paste: a rate where the user's optimizer has one."""
    if own_rate is not None:
        return f"learning_rate = {written(suggestion * own_rate)}"
    if "optimizer" in code:  # the user's own, with a factor
        return f"optimizer = {code}"
    return assigned(around(code, feed, frozen), feed.problem)


def _test(engine: Stepwise, feed: Feed, rates: Floats) -> RangeTest:
    """Smoothed losses up to where they exceed `STOP_AT` times the best, or are not finite."""
    run, steps = TrainingRun(TrialSetting(1.0), feed), len(rates)
    engine.advance([run], steps)
    require_finite(run.losses[0])
    mean, best = 0.0, math.inf
    losses: list[float] = []
    for step, loss in enumerate(run.losses):
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss
        level = mean / (1.0 - SMOOTHING ** (step + 1))
        if not math.isfinite(level):
            break
        losses.append(level)
        if step > FIRST_SHARE * steps and level > _stop_loss(best, run.losses[0]):
            break
        best = min(best, level)
    return RangeTest(feed.seed, tuple(rates[: len(losses)].tolist()), tuple(losses))


def _stop_loss(best: float, start: float) -> float:
    """The loss at which the test stops; for a negative best, relative to how far the loss has fallen."""
    return STOP_AT * best if best > 0 else best + STOP_AT * (start - best)


def _trimmed(test: RangeTest) -> tuple[Floats, Floats]:
    count = len(test.losses)
    first = int(FIRST_SHARE * count)
    end = max(count - LAST, first + 3)
    return np.asarray(test.rates[first:end]), np.asarray(test.losses[first:end])


def _steepest(rates: Floats, losses: Floats) -> float:
    """The rate where the loss falls fastest over the log of the rate: Lightning's suggestion."""
    return float(rates[int(np.argmin(np.gradient(losses)))]) if len(losses) > 1 else float(rates[0])


def _valley(rates: Floats, losses: Floats) -> float:
    """The rate halfway down the longest fall: fastai's default suggestion."""
    longest = np.ones(len(losses), int)
    begin = np.arange(len(losses))
    for index in range(1, len(losses)):
        for before in range(index):
            if losses[index] < losses[before] and longest[before] + 1 > longest[index]:
                longest[index], begin[index] = longest[before] + 1, begin[before]
    end = int(np.argmax(longest))
    return float(rates[(begin[end] + end) // 2])


def _two_digits(rate: float) -> float:
    return float(f"{rate:.2g}")


def _fell(test: RangeTest) -> bool:
    return min(test.losses) < test.losses[0] - ROUNDING * abs(test.losses[0])


def _warning(lowest: Sequence[float], tests: Sequence[RangeTest], steps: int) -> str:
    if not any(map(_fell, tests)):
        return (
            "The loss never fell, so no learning rate can be suggested. Run `gradscope check` on the target."
        )
    if ramps_without_end(tests):
        fell = "The loss fell faster the higher the learning rate, up to the highest one, and far below zero."
        return f"{fell} {NO_FLOOR}"
    if max(lowest) > 10.0 * min(lowest):
        return (
            "The seeds differ by more than a factor of ten: check the suggestion with `compare-optimizers`."
        )
    falling = [int(np.argmin(test.losses)) >= steps - 1 - LAST for test in tests]
    if sum(falling) > len(tests) / 2:
        return "The loss was still falling at the highest learning rate: the best one may be higher."
    return ""


def _require(candidate: CandidateOptimizer, seeds: int, steps: int) -> None:
    if candidate.usual is None:
        raise GradscopeError(
            f"The optimizer {candidate.name!r} has no learning rate to search.",
            why="It chooses the length of its steps itself.",
            fix="Choose another one with --optimizer.",
            slug="unfit-optimizer",
        )
    for option, value, least in (("--seeds", seeds, 1), ("--steps", steps, FEWEST_STEPS)):
        if value < least:
            raise GradscopeError(
                f"{option} is {value}.",
                why="The learning rate rises over eight decades; the suggestion is a median over the seeds.",
                fix=f"Give at least {least}.",
                slug="bad-option",
            )

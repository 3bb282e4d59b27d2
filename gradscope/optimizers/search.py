"""Searches the learning rate of one optimizer: a grid in half decades, successive halving, and more rates
where the best lies at the edge of the grid."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradscope.optimizers.curves import end_of, median, rate_near, window_of
from gradscope.optimizers.engines import CHUNK, Batched, Engine, TrainingRun
from gradscope.optimizers.feed import Feed
from gradscope.records.progress import Progress

HALF_DECADE = math.sqrt(10.0)
EXTENSIONS = 6
"""Half decades by which a grid may grow: three decades beyond an optimizer's usual rate."""
RUNGS = (4, 2)
"""The worse half of the rates is stopped after a quarter and after a half of the steps."""


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the search, the same for every optimizer."""

    steps: int
    exhaustive: bool
    """Every learning rate is trained for all steps."""
    keep_runs: bool
    """Whether weights and states of all learning rates fit in memory between two rungs."""
    validate: Callable[[TrainingRun], float] | None = None
    """The validation loss of a completed run; where it is given, it decides on the learning rate."""
    until: float = math.inf
    """The time at which no further rate is begun, as `time.perf_counter` has it."""

    def has_room(self, engine: Engine, seeds: int) -> bool:
        """Whether one more learning rate ends before `until`."""
        each = max(engine.step_seconds[-5:], default=0.0)
        return time.perf_counter() + each * self.steps * seeds < self.until


def grid_around(usual: float, count: int) -> list[float]:
    """`count` rates, half a decade apart, with the usual one in the middle."""
    low = -(count // 2)
    return [_plain(usual * HALF_DECADE**exponent) for exponent in range(low, low + count)]


def _plain(rate: float) -> float:
    """Two digits, so that the rate in the report is the rate that was used."""
    return float(f"{rate:.2g}")


def search(
    engine: Engine,
    feeds: Sequence[Feed],
    rates: Sequence[float],
    settings: SearchSettings,
    progress: Progress,
    runs: list[TrainingRun],
) -> bool:
    """Appends every run to `runs`, so that they survive an interruption; runs that were stopped early have
    fewer losses than `settings.steps`. False where there was no time for a rate beyond the edge."""
    runs += [TrainingRun(rate, feed) for rate in rates for feed in feeds]
    if settings.exhaustive or isinstance(engine, Batched) or len(rates) < 3:
        _finish(engine, runs, settings, progress)
    else:
        _halve(engine, runs, settings, progress)
    for _ in range(EXTENSIONS if len(rates) > 1 else 0):
        further = _beyond(runs, settings)
        if further is None:
            break
        if not settings.has_room(engine, len(feeds)):
            return False
        more = [TrainingRun(further, feed) for feed in feeds]
        runs += more
        _finish(engine, more, settings, progress)
    if len(rates) > 1:
        _look_around(engine, feeds, settings, progress, runs)
    return True


def _look_around(
    engine: Engine,
    feeds: Sequence[Feed],
    settings: SearchSettings,
    progress: Progress,
    runs: list[TrainingRun],
) -> None:
    """Train a decade above and below the best rate where the grid did not reach. For all steps: a rate
    that is too high looks good after a few."""
    best = best_rate(runs, settings.steps)
    if not math.isfinite(_scores_by_rate(runs, settings.steps)[best]):
        return
    for rate in (_plain(best * 10.0), _plain(best / 10.0)):
        known = rate_near(rate, (run.rate for run in runs)) is not None
        if not known and settings.has_room(engine, len(feeds)):
            more = [TrainingRun(rate, feed) for feed in feeds]
            runs += more
            _finish(engine, more, settings, progress)


def completed_runs(runs: Sequence[TrainingRun], settings: SearchSettings) -> list[TrainingRun]:
    """The usable runs of an interrupted search: rates at which every seed made equally many steps and, at the
    end, was validated. Empty where no rate was trained for all steps."""
    ends = {run.rate: settings.steps for run in runs if _is_whole(run, settings.steps)}
    known = []
    for rate in dict.fromkeys(run.rate for run in runs):
        mine = [run for run in runs if run.rate == rate]
        evaluation_weights = (
            settings.validate is None or rate not in ends or all(run.validation is not None for run in mine)
        )
        even = (
            len({settings.steps if _is_whole(run, settings.steps) else len(run.losses) for run in mine}) == 1
        )
        known += mine if even and evaluation_weights and mine[0].losses else []
    return known if any(run.rate in ends for run in known) else []


def best_rate(runs: Sequence[TrainingRun], steps: int) -> float:
    """The rate with the lowest median loss at the end: the validation loss where it was measured, else the
    training loss. The lower rate of two equals."""
    scores = _scores_by_rate(runs, steps)
    return min(sorted(scores), key=lambda rate: scores[rate])


def _scores_by_rate(runs: Sequence[TrainingRun], steps: int) -> dict[float, float]:
    """The loss that decides on the rate, for the rates that were trained for all steps."""
    whole = [run for run in runs if _is_whole(run, steps)]
    if all(run.validation is None for run in whole):
        return ends_by_rate(whole, steps)
    return {
        rate: median([_validation(run) for run in whole if run.rate == rate])
        for rate in dict.fromkeys(run.rate for run in whole)
    }


def _validation(run: TrainingRun) -> float:
    """Infinite for a run that was stopped after a loss that is not finite: it was not validated."""
    return math.inf if run.validation is None else run.validation


def _is_whole(run: TrainingRun, steps: int) -> bool:
    return len(run.losses) >= steps or run.first_nonfinite() is not None


def ends_by_rate(runs: Sequence[TrainingRun], steps: int) -> dict[float, float]:
    """Median over the seeds of the smoothed loss where each rate's runs ended, by rate."""
    window = window_of(steps)
    return {
        rate: median([end_of(run.losses[:steps], window) for run in runs if run.rate == rate])
        for rate in dict.fromkeys(run.rate for run in runs)
    }


def _halve(engine: Engine, runs: Sequence[TrainingRun], settings: SearchSettings, progress: Progress) -> None:
    remaining = list(runs)
    for part in RUNGS:
        rung = max(CHUNK, settings.steps // part // CHUNK * CHUNK)
        if rung >= settings.steps:
            break
        _advance(engine, remaining, rung, progress)
        remaining = _better_half(remaining, settings.steps)
        for run in runs:
            if run not in remaining or not settings.keep_runs:
                run.forget()
    _finish(engine, remaining, settings, progress)


def _finish(
    engine: Engine, runs: Sequence[TrainingRun], settings: SearchSettings, progress: Progress
) -> None:
    """Train to the last step and validate; only the losses are kept."""
    _advance(engine, runs, settings.steps, progress)
    if settings.validate is not None:
        progress("validating")
        for run in runs:
            run.validation = math.inf if run.first_nonfinite() is not None else settings.validate(run)
    for run in runs:
        run.forget()


def _better_half(runs: Sequence[TrainingRun], steps: int) -> list[TrainingRun]:
    ends = ends_by_rate(runs, steps)
    kept = sorted(ends, key=lambda rate: ends[rate])[: (len(ends) + 1) // 2]
    return [run for run in runs if run.rate in kept]


def _beyond(runs: Sequence[TrainingRun], settings: SearchSettings) -> float | None:
    """The next rate to try where the best lies at the edge of the grid, or `None`."""
    rates = sorted({run.rate for run in runs})
    best = best_rate(runs, settings.steps)
    if not math.isfinite(_scores_by_rate(runs, settings.steps)[best]):
        return _plain(rates[0] / HALF_DECADE)
    if best == rates[-1]:
        return _plain(best * HALF_DECADE)
    return _plain(best / HALF_DECADE) if best == rates[0] else None


def _advance(engine: Engine, runs: Sequence[TrainingRun], steps: int, progress: Progress) -> None:
    """Rate by rate, to report progress; all at once where they are batched."""
    if isinstance(engine, Batched):
        progress(f"{len(runs)} runs of {steps} steps at once")
        engine.advance(runs, steps)
        return
    for rate in dict.fromkeys(run.rate for run in runs):
        progress(f"learning rate {rate:.2g}, to step {steps}")
        engine.advance([run for run in runs if run.rate == rate], steps)

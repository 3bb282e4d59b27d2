"""The learning rates of one optimizer: a grid in half decades, halving, and a longer grid at an open edge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradscope.optimizers.curves import end_of, median, rate_near, window_of
from gradscope.optimizers.engines import CHUNK, Batched, Engine, Run
from gradscope.optimizers.feed import Feed
from gradscope.records.progress import Progress

HALF_DECADE = math.sqrt(10.0)
EXTENSIONS = 6
"""Half decades that a grid may grow by: three decades beyond an optimizer's usual value are a wrong table."""
RUNGS = (4, 2)
"""Halving looks after a quarter and a half of the steps."""


@dataclass(frozen=True)
class Terms:
    """What every optimizer is given alike."""

    steps: int
    exhaustive: bool
    """Every learning rate runs to the end."""
    keep_runs: bool
    """Weights and states of all learning rates fit in memory between two rungs."""
    validate: Callable[[Run], float] | None = None
    """Validation loss of a run that came to its end; then it decides on the learning rate."""


def grid_around(usual: float, count: int) -> list[float]:
    """`count` rates, half a decade apart, the usual one in the middle."""
    low = -(count // 2)
    return [_plain(usual * HALF_DECADE**exponent) for exponent in range(low, low + count)]


def _plain(rate: float) -> float:
    """Two digits: what is shown and pasted is what ran."""
    return float(f"{rate:.2g}")


def search(
    engine: Engine,
    feeds: Sequence[Feed],
    rates: Sequence[float],
    terms: Terms,
    progress: Progress,
    runs: list[Run],
) -> None:
    """Fills `runs` with every run that is made, so that they outlast an interruption; those that were left
    behind have fewer losses than `terms.steps`."""
    runs += [Run(rate, feed) for rate in rates for feed in feeds]
    if terms.exhaustive or isinstance(engine, Batched) or len(rates) < 3:
        _finish(engine, runs, terms, progress)
    else:
        _halve(engine, runs, terms, progress)
    for _ in range(EXTENSIONS if len(rates) > 1 else 0):
        further = _beyond(runs, terms)
        if further is None:
            break
        more = [Run(further, feed) for feed in feeds]
        runs += more
        _finish(engine, more, terms, progress)
    if len(rates) > 1:
        _look_around(engine, feeds, terms, progress, runs)


def _look_around(
    engine: Engine, feeds: Sequence[Feed], terms: Terms, progress: Progress, runs: list[Run]
) -> None:
    """A decade above and below the best, where the grid did not reach. To the end: a rate that is too high
    looks good after a few steps."""
    best = best_rate(runs, terms.steps)
    if not math.isfinite(_scores_by_rate(runs, terms.steps)[best]):
        return
    for rate in (_plain(best * 10.0), _plain(best / 10.0)):
        if rate_near(rate, (run.rate for run in runs)) is None:
            more = [Run(rate, feed) for feed in feeds]
            runs += more
            _finish(engine, more, terms, progress)


def known_of(runs: Sequence[Run], terms: Terms) -> list[Run]:
    """Of a search that was interrupted: the rates at which every seed came equally far, and was judged at the
    end. Empty where none came to the end."""
    ends = {run.rate: terms.steps for run in runs if _is_whole(run, terms.steps)}
    known = []
    for rate in dict.fromkeys(run.rate for run in runs):
        mine = [run for run in runs if run.rate == rate]
        judged = terms.validate is None or rate not in ends or all(run.validation is not None for run in mine)
        even = len({terms.steps if _is_whole(run, terms.steps) else len(run.losses) for run in mine}) == 1
        known += mine if even and judged and mine[0].losses else []
    return known if any(run.rate in ends for run in known) else []


def best_rate(runs: Sequence[Run], steps: int) -> float:
    """The rate with the lowest median loss at the end, on validation where there is that; the lower of
    equals."""
    scores = _scores_by_rate(runs, steps)
    return min(sorted(scores), key=lambda rate: scores[rate])


def _scores_by_rate(runs: Sequence[Run], steps: int) -> dict[float, float]:
    """What decides on the rate: of those that came to the end."""
    whole = [run for run in runs if _is_whole(run, steps)]
    if all(run.validation is None for run in whole):
        return ends_by_rate(whole, steps)
    return {
        rate: median([_validation(run) for run in whole if run.rate == rate])
        for rate in dict.fromkeys(run.rate for run in whole)
    }


def _validation(run: Run) -> float:
    """A run that died and was left behind was not judged."""
    return math.inf if run.validation is None else run.validation


def _is_whole(run: Run, steps: int) -> bool:
    return len(run.losses) >= steps or run.died_at() is not None


def ends_by_rate(runs: Sequence[Run], steps: int) -> dict[float, float]:
    """Median over the seeds of the smoothed loss where each rate's runs ended, by rate."""
    window = window_of(steps)
    return {
        rate: median([end_of(run.losses[:steps], window) for run in runs if run.rate == rate])
        for rate in dict.fromkeys(run.rate for run in runs)
    }


def _halve(engine: Engine, runs: Sequence[Run], terms: Terms, progress: Progress) -> None:
    alive = list(runs)
    for part in RUNGS:
        rung = max(CHUNK, terms.steps // part // CHUNK * CHUNK)
        if rung >= terms.steps:
            break
        _advance(engine, alive, rung, progress)
        alive = _better_half(alive, terms.steps)
        for run in runs:
            if run not in alive or not terms.keep_runs:
                run.forget()
    _finish(engine, alive, terms, progress)


def _finish(engine: Engine, runs: Sequence[Run], terms: Terms, progress: Progress) -> None:
    """To the last step, and judged there; nothing but losses is kept of them."""
    _advance(engine, runs, terms.steps, progress)
    if terms.validate is not None:
        progress("validating")
        for run in runs:
            run.validation = math.inf if run.died_at() is not None else terms.validate(run)
    for run in runs:
        run.forget()


def _better_half(runs: Sequence[Run], steps: int) -> list[Run]:
    ends = ends_by_rate(runs, steps)
    kept = sorted(ends, key=lambda rate: ends[rate])[: (len(ends) + 1) // 2]
    return [run for run in runs if run.rate in kept]


def _beyond(runs: Sequence[Run], terms: Terms) -> float | None:
    """The next rate where the best lies at the edge of the grid, or `None`."""
    rates = sorted({run.rate for run in runs})
    best = best_rate(runs, terms.steps)
    if not math.isfinite(_scores_by_rate(runs, terms.steps)[best]):
        return _plain(rates[0] / HALF_DECADE)
    if best == rates[-1]:
        return _plain(best * HALF_DECADE)
    return _plain(best / HALF_DECADE) if best == rates[0] else None


def _advance(engine: Engine, runs: Sequence[Run], steps: int, progress: Progress) -> None:
    """Rate by rate, so that progress can be told; all at once where they are batched."""
    if isinstance(engine, Batched):
        progress(f"{len(runs)} runs of {steps} steps at once")
        engine.advance(runs, steps)
        return
    for rate in dict.fromkeys(run.rate for run in runs):
        progress(f"learning rate {rate:.2g}, to step {steps}")
        engine.advance([run for run in runs if run.rate == rate], steps)

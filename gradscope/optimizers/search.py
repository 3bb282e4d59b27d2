"""Tunes one optimizer on seeds of its own, then trains what was chosen on the seeds that judge it.

A grid of learning rates with successive halving comes first, then settings around the best, as many for every
optimizer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradscope.optimizers.batched import Batched
from gradscope.optimizers.curves import end_of, median, window_of
from gradscope.optimizers.engines import CHUNK, Engine, TrainingRun
from gradscope.optimizers.feed import Feed
from gradscope.optimizers.lattice import TrialSetting, lowest, next_setting, settings_of
from gradscope.records.progress import Progress

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
    """The validation loss of a completed run; where it is given, it decides on the setting."""
    until: float = math.inf
    """The time at which the judging has to have ended, as `time.perf_counter` has it."""
    judges: int = 0
    """Runs that are still to be made of the setting that is chosen."""

    def has_room(self, engine: Engine, seeds: int) -> bool:
        """Whether one more setting, and then the judging, end before `until`."""
        each = max(engine.step_seconds[-5:], default=0.0)
        return time.perf_counter() + each * self.steps * (seeds + self.judges) < self.until


def search(
    engine: Engine,
    feeds: Sequence[Feed],
    grid: Sequence[TrialSetting],
    settings: SearchSettings,
    progress: Progress,
    runs: list[TrainingRun],
) -> bool:
    """Appends every run to `runs`, so that they survive an interruption; runs that were stopped early have
    fewer losses than `settings.steps`. False where there was no time for all settings."""
    runs += [TrainingRun(setting, feed) for setting in grid for feed in feeds]
    if settings.exhaustive or isinstance(engine, Batched) or len(grid) < 3:
        finish(engine, runs, settings, progress)
    else:
        _halve(engine, runs, settings, progress)
    for left in range(settings_of(len(grid)) - len(grid), 0, -1):
        further = next_setting(_tried(runs), scores(runs, settings.steps), left)
        if further is None:
            break
        if not settings.has_room(engine, len(feeds)):
            return False
        more = [TrainingRun(further, feed) for feed in feeds]
        runs += more
        finish(engine, more, settings, progress)
    return True


def _tried(runs: Sequence[TrainingRun]) -> list[TrialSetting]:
    return list(dict.fromkeys(run.setting for run in runs))


def completed_runs(runs: Sequence[TrainingRun], settings: SearchSettings) -> list[TrainingRun]:
    """The usable runs of an interrupted search: settings at which every seed made equally many steps and, at
    the end, was validated. Empty where none was trained for all steps."""
    ended = {run.setting for run in runs if _is_whole(run, settings.steps)}
    known = []
    for setting in _tried(runs):
        mine = [run for run in runs if run.setting == setting]
        is_validated = (
            settings.validate is None
            or setting not in ended
            or all(run.validation is not None for run in mine)
        )
        even = (
            len({settings.steps if _is_whole(run, settings.steps) else len(run.losses) for run in mine}) == 1
        )
        known += mine if even and is_validated and mine[0].losses else []
    return known if any(run.setting in ended for run in known) else []


def best_setting(runs: Sequence[TrainingRun], steps: int) -> TrialSetting:
    """The setting with the lowest median loss at the end: the validation loss where it was measured, else the
    training loss. The lower rate of two equals."""
    return lowest(scores(runs, steps))


def scores(runs: Sequence[TrainingRun], steps: int) -> dict[TrialSetting, float]:
    """The loss that decides on the setting, for those that were trained for all steps."""
    whole = [run for run in runs if _is_whole(run, steps)]
    if all(run.validation is None for run in whole):
        return ends_by_setting(whole, steps)
    return {
        setting: median([_validation(run) for run in whole if run.setting == setting])
        for setting in _tried(whole)
    }


def _validation(run: TrainingRun) -> float:
    """Infinite for a run that was stopped after a loss that is not finite: it was not validated."""
    return math.inf if run.validation is None else run.validation


def _is_whole(run: TrainingRun, steps: int) -> bool:
    return len(run.losses) >= steps or run.first_nonfinite() is not None


def ends_by_setting(runs: Sequence[TrainingRun], steps: int) -> dict[TrialSetting, float]:
    """Median over the seeds of the smoothed loss where each setting's runs ended."""
    window = window_of(steps)
    return {
        setting: median([end_of(run.losses[:steps], window) for run in runs if run.setting == setting])
        for setting in _tried(runs)
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
    finish(engine, remaining, settings, progress)


def finish(
    engine: Engine,
    runs: Sequence[TrainingRun],
    settings: SearchSettings,
    progress: Progress,
    see: Callable[[TrainingRun], None] | None = None,
) -> None:
    """Train to the last step, validate, and show `see` what did not diverge; only the losses are kept."""
    _advance(engine, runs, settings.steps, progress)
    if settings.validate is not None:
        progress("validating")
        for run in runs:
            run.validation = math.inf if run.first_nonfinite() is not None else settings.validate(run)
    for run in runs:
        if see is not None and run.first_nonfinite() is None:
            see(run)
        run.forget()


def _better_half(runs: Sequence[TrainingRun], steps: int) -> list[TrainingRun]:
    ends = ends_by_setting(runs, steps)
    kept = sorted(ends, key=lambda setting: ends[setting])[: (len(ends) + 1) // 2]
    return [run for run in runs if run.setting in kept]


def _advance(engine: Engine, runs: Sequence[TrainingRun], steps: int, progress: Progress) -> None:
    """TrialSetting by setting, to report progress; all at once where they are batched."""
    if isinstance(engine, Batched):
        progress(f"{len(runs)} runs of {steps} steps at once")
        engine.advance(runs, steps)
        return
    for setting in _tried(runs):
        decay = "" if setting.decay is None else f", weight decay {setting.decay:.2g}"
        progress(f"learning rate {setting.rate:.2g}{decay}, to step {steps}")
        engine.advance([run for run in runs if run.setting == setting], steps)

"""Summarizes the runs of each optimizer in a row of the table, and ranks the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradscope.optimizers.candidates import CandidateOptimizer
from gradscope.optimizers.curves import (
    TARGET_SHARE,
    crossing,
    end_of,
    lost_at,
    median,
    smoothed,
    ties,
    tolerant_decades,
)
from gradscope.optimizers.engines import Engine, TrainingRun
from gradscope.optimizers.lattice import TrialSetting, edges
from gradscope.optimizers.search import ends_by_setting
from gradscope.records import Comparison, Contestant, LayerUpdate, Trial


@dataclass(frozen=True)
class OptimizerRuns:
    """One candidate and all that was measured for it."""

    candidate: CandidateOptimizer
    tuning: Sequence[TrainingRun]
    """Those that chose the setting; none where there was nothing to choose."""
    judged: Sequence[TrainingRun]
    """Those at the chosen setting whose losses count."""
    state_bytes: int
    step_seconds: float
    evaluations_per_step: float
    compiled: int
    cut: bool = False
    """The search was interrupted: not every setting was tried."""
    judged_by_tuning: bool = False
    """It was interrupted before its setting was judged: `judged` are runs that chose it."""
    updates: Sequence[LayerUpdate] = ()

    @property
    def setting(self) -> TrialSetting:
        return self.judged[0].setting

    @property
    def runs(self) -> list[TrainingRun]:
        return list({id(run): run for run in (*self.tuning, *self.judged)}.values())


def runs_of_optimizer(
    candidate: CandidateOptimizer,
    engine: Engine,
    state_bytes: int,
    tuning: Sequence[TrainingRun],
    judged: Sequence[TrainingRun],
    *,
    cut: bool = False,
    judged_by_tuning: bool = False,
    updates: Sequence[LayerUpdate] = (),
) -> OptimizerRuns:
    """The time of a step is the lower quartile over the chunks: other load on the machine only adds to it."""
    chunks = engine.step_seconds[1:] or engine.step_seconds
    searched = [count for run in judged for count in run.line_searches]
    return OptimizerRuns(
        candidate,
        tuning,
        judged,
        state_bytes,
        float(np.quantile(chunks, 0.25)) if chunks else math.nan,
        1.0 + (float(np.mean(searched)) if searched else 0.0),
        engine.compiled,
        cut,
        judged_by_tuning,
        updates,
    )


@dataclass(frozen=True)
class RankingScale:
    """The numbers by which the losses of all optimizers are compared."""

    steps: int
    window: int
    start: float
    """Median over the seeds of the loss before the first step."""
    target: float
    parameter_bytes: int
    worst: float
    """A run that ends above it diverged."""


def end_of_judged(m: OptimizerRuns, window: int) -> float:
    return median([end_of(run.losses, window) for run in m.judged])


def target_of(best: float, start: float) -> float:
    """The loss at which the best has made nine tenths of its improvement; `-inf` where nothing improved."""
    return start - TARGET_SHARE * (start - best) if best < start else -math.inf


def worst_of(best: float, start: float) -> float:
    """As far above the initial loss as the best got below it; infinite without an improvement."""
    return start + (start - best) if best < start else math.inf


def contestant(m: OptimizerRuns, scale: RankingScale) -> Contestant:
    """The row of one optimizer, not yet ranked."""
    best, chosen = m.setting, m.judged
    tuned = m.candidate.usual is not None
    judges = {id(run) for run in chosen}
    trials = {id(run): _trial(run, scale, tuned, id(run) not in judges) for run in m.runs}
    finals = [trials[id(run)].final_loss for run in chosen]
    steps = median([_crossing(trials[id(run)], scale.window, scale.target) for run in chosen])
    start = _start_of(m.tuning)
    ends = _projected(m.tuning, best, start, scale)
    tried = list(dict.fromkeys(run.setting for run in m.tuning))
    validation = [run.validation for run in chosen if run.validation is not None]
    several = len(ends) > 1 and ends[best.rate] < start and math.isfinite(median(finals))
    decades, at_least = tolerant_decades(ends, best.rate, start) if several else (None, False)
    return Contestant(
        name=m.candidate.name,
        code=m.candidate.written(written(best.rate), best.decay),
        kind=m.candidate.kind,
        usual_rate=m.candidate.usual,
        learning_rate=best.rate if tuned else None,
        weight_decay=best.decay if tuned else None,
        usual_decay=m.candidate.usual_decay if tuned else None,
        tried=len(tried),
        at_edge=edges(best, tried),
        updates=tuple(m.updates),
        final_loss=median(finals),
        final_low=min(finals),
        final_high=max(finals),
        validation_loss=median(validation) if validation else None,
        steps_to_target=steps,
        seconds_to_target=steps * m.step_seconds,
        step_seconds=m.step_seconds,
        evaluations_per_step=m.evaluations_per_step,
        state_bytes=m.state_bytes,
        state_to_parameters=m.state_bytes / scale.parameter_bytes if scale.parameter_bytes else 0.0,
        tolerant_decades=decades,
        tolerant_at_least=at_least,
        loss_at_tenth=lost_at(ends, best.rate, start, 0.1) if several else None,
        loss_at_tenfold=lost_at(ends, best.rate, start, 10.0) if several else None,
        diverged_share=sum(trials[id(run)].diverged_at is not None for run in chosen) / len(chosen),
        tied_with_best=None,
        summary="",
        trials=tuple(trials.values()),
        settings=m.candidate.settings,
    )


def written(rate: float) -> str:
    """A learning rate as code, to two digits: half decades are 0.001, 0.0032, 0.01, and 320."""
    return f"{float(f'{rate:.2g}'):g}"


def _trial(run: TrainingRun, scale: RankingScale, tuned: bool, tuning: bool) -> Trial:
    first_bad = run.first_nonfinite()
    final = end_of(run.losses, scale.window)
    stopped = first_bad is None and len(run.losses) < scale.steps
    if first_bad is None and final > scale.worst:
        first_bad, final = len(run.losses) - 1, math.inf
    return Trial(
        learning_rate=run.setting.rate if tuned else None,
        weight_decay=run.setting.decay if tuned else None,
        tuning=tuning,
        seed=run.feed.seed,
        losses=tuple(run.losses),
        final_loss=final,
        validation_loss=run.validation,
        diverged_at=first_bad,
        stopped_early=stopped,
    )


def _crossing(trial: Trial, window: int, target: float) -> float:
    return math.inf if trial.diverged_at is not None else crossing(trial.losses, window, target)


def _start_of(runs: Sequence[TrainingRun]) -> float:
    """Median over the seeds of the loss before the first step."""
    first = {run.feed.seed: run.losses[0] for run in runs if run.losses}
    return median(list(first.values())) if first else math.nan


def _projected(
    runs: Sequence[TrainingRun], best: TrialSetting, start: float, scale: RankingScale
) -> dict[float, float]:
    """The final loss by rate, the lowest over the decays that were tried with it; one that was stopped early
    keeps the share of the improvement it had lost."""
    ends = ends_by_setting(runs, scale.steps)
    for setting in ends:
        reached = max((len(run.losses) for run in runs if run.setting == setting), default=0)
        if reached < scale.steps and math.isfinite(ends[setting]):
            then = _median_at(runs, best, reached, scale.window)
            improvement = start - then
            share = (ends[setting] - then) / improvement if improvement > 0 else 1.0
            ends[setting] = ends[best] + share * (start - ends[best])
    by_rate: dict[float, float] = {}
    for setting, end in ends.items():
        by_rate[setting.rate] = min(end, by_rate.get(setting.rate, math.inf))
    return by_rate | ({best.rate: ends[best]} if ends else {})


def _median_at(runs: Sequence[TrainingRun], setting: TrialSetting, step: int, window: int) -> float:
    curves = [smoothed(run.losses[:step], window) for run in runs if run.setting == setting]
    return median([float(curve[-1]) for curve in curves if len(curve)])


def ranked(rows: Sequence[Contestant], start: float) -> list[Contestant]:
    """Best first, by validation loss where all have one; with more than one seed, ties are marked.

    An optimizer that did not lower the loss from `start` comes last, and never ties with one that did.
    """
    validated = all(row.validation_loss is not None for row in rows)
    order = sorted(
        rows,
        key=lambda row: (row.final_loss >= start, row.score(validated), row.steps_to_target, row.state_bytes),
    )
    seeds = {trial.seed for row in rows for trial in row.judged}
    if len(seeds) < 2 or order[0].final_loss >= start or not math.isfinite(order[0].score(validated)):
        return order
    first, *others = (seed_scores(row, validated) for row in order)
    marks = [False, *ties(first, others)]
    return [
        replace(row, tied_with_best=tied and row.final_loss < start)
        for row, tied in zip(order, marks, strict=True)
    ]


def seed_scores(row: Contestant, validated: bool) -> dict[int, float]:
    """The score of each seed that judges."""
    if validated:
        return {t.seed: t.validation_loss for t in row.judged if t.validation_loss is not None}
    return {t.seed: t.final_loss for t in row.judged}


def seconds_by_seed(row: Contestant, window: int, target: float) -> dict[int, float]:
    """Time to the target of each seed that judges [s]."""
    return {t.seed: _crossing(t, window, target) * row.step_seconds for t in row.judged}


def sentence(row: Contestant, found: Comparison) -> str:
    """A summary of the optimizer on this problem, from its own numbers."""
    if found.lacks_floor:
        return f"The loss went from {found.initial_loss:.3g} to {row.final_loss:.3g}."
    if not math.isfinite(row.final_loss):
        tuned = row.learning_rate is not None
        return "Diverged at every learning rate that was tried." if tuned else "Diverged."
    if row.final_loss >= found.initial_loss:
        return "Did not lower the loss."
    parts = [_speed(row, found)]
    if row.tolerant_decades is not None:
        if row.tolerant_decades >= 1.5:
            parts.append("works over a wide range of learning rates")
        elif row.tolerant_decades < 0.5 and not row.tolerant_at_least:
            parts.append("sensitive to the learning rate")
    if row.diverged_share:
        parts.append(f"diverged in {row.diverged_share:.0%} of its runs at this learning rate")
    if row.evaluations_per_step > 1.5:
        parts.append(f"evaluates the loss {row.evaluations_per_step:.1f} times per step")
    if row.state_to_parameters >= 2.5:
        parts.append(f"its state takes {row.state_to_parameters:.1f} times the memory of the parameters")
    elif row.state_bytes == 0:
        parts.append("keeps no state")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _speed(row: Contestant, found: Comparison) -> str:
    first = found.contestants[0]
    if row.name == first.name:
        return "lowest validation loss" if found.validated else "lowest loss"
    if not math.isfinite(row.steps_to_target):
        return "does not reach the target loss"
    if row.steps_to_target >= 1.05 * first.steps_to_target:
        return f"needs {row.steps_to_target / first.steps_to_target:.1f} times the steps of the first"
    return "reaches the target loss as fast, with a higher final loss" + (
        " on validation" if found.validated else ""
    )

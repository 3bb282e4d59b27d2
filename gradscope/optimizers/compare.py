"""`compare`: train every candidate on the same problem, from the same parameters, on the same batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import jax

from gradscope.errors import GradscopeError
from gradscope.load.message_text import listed
from gradscope.load.problem import Problem
from gradscope.optimizers import candidates as known, results
from gradscope.optimizers.budget import Budget, BudgetSpent, budget_of
from gradscope.optimizers.candidates import CandidateOptimizer
from gradscope.optimizers.curves import median, profile_scores, window_of
from gradscope.optimizers.ends import of_starts
from gradscope.optimizers.engines import TrainingRun
from gradscope.optimizers.feed import feed_of
from gradscope.optimizers.floor import falls_without_end
from gradscope.optimizers.frozen import around, assigned, frozen_leaves, note
from gradscope.optimizers.lattice import TrialSetting, grid_around
from gradscope.optimizers.planning import keeps_runs, readable
from gradscope.optimizers.search import SearchSettings, best_setting, completed_runs, finish, search
from gradscope.optimizers.setup import SharedSetup, prepared, training_of
from gradscope.optimizers.starts import several_starts
from gradscope.optimizers.terms import require_usable
from gradscope.optimizers.training import Training, fitted, schedule_named, state_bytes
from gradscope.optimizers.updates import UpdateProbe
from gradscope.optimizers.verdict import EarlyEnd, reasons, recommendation
from gradscope.records import Comparison
from gradscope.records.options import CompareOptions
from gradscope.records.progress import Progress


def compare(
    start: Callable[[int], Problem],
    request: CompareOptions,
    seed: int,
    progress: Progress,
    begun: float | None = None,
) -> Comparison:
    """`start(seed)` gives the problem with the parameters, the order of batches and the keys of that seed.

    Ctrl-C and the end of the budget, which runs from `begun` (as `time.perf_counter` has it), end the
    comparison early: the optimizers that were measured by then are compared.
    """
    require_usable(request)
    budget = budget_of(request, begun)
    problem = start(seed)
    progress("tracing")
    first = feed_of(problem, seed)
    program = first.program()
    contestants = _candidates(request, problem)
    # Before anything is compiled: an optimizer that cannot train the problem ends the run.
    frozen = () if problem.optimizer is None else frozen_leaves(first, problem.optimizer)
    trainings = [fitted(training_of(program, first, each, request, frozen)) for each in contestants]
    setup = prepared(start, request, program, first, contestants, budget, progress)
    setup = replace(setup, frozen=frozen)
    found: list[results.OptimizerRuns] = []
    for training, say in _with_progress(trainings, setup.plan.estimate_s, progress):
        share = budget.left / (len(trainings) - len(found))
        try:
            _measure(setup, training, request, say, share, found)
        except (KeyboardInterrupt, BudgetSpent) as end:
            spent = isinstance(end, BudgetSpent)
            if not found and spent:
                raise _nothing_measured(training.candidate.name, budget) from end
            if not found:
                raise
            missing = [each.candidate.name for each in trainings[len(found) :]]
            early = EarlyEnd(missing, budget.seconds if spent else None)
            return _comparison(found, setup, request, problem, early)
    whole = _comparison(found, setup, request, problem)
    return _with_starts(whole, start, trainings, setup, request, progress) if request.starts else whole


def _with_starts(
    whole: Comparison,
    start: Callable[[int], Problem],
    trainings: Sequence[Training],
    setup: SharedSetup,
    request: CompareOptions,
    progress: Progress,
) -> Comparison:
    """With where the best optimizer ends from several starts; without it where the time is over."""
    best = whole.best
    if best is None:
        return whole
    training = next(each for each in trainings if each.candidate.name == best.name)
    training = _scheduled(training, request, setup.plan.steps)
    rate = 1.0 if best.learning_rate is None else best.learning_rate
    setting = TrialSetting(rate, best.weight_decay)
    try:
        found = several_starts(start, request.starts, training, setting, setup, progress)
    except (KeyboardInterrupt, BudgetSpent) as end:
        spent = setup.budget.seconds if isinstance(end, BudgetSpent) else None
        said = EarlyEnd([f"{request.starts} starts of {best.name}"], spent).sentence
        return replace(whole, complete=False, budget_spent_s=spent, reasons=(said, *whole.reasons))
    return replace(whole, starts=found, reasons=(*whole.reasons, *of_starts(found)))


def _scheduled(training: Training, request: CompareOptions, steps: int) -> Training:
    if training.schedule is None:
        return training
    return replace(training, schedule=schedule_named(request.schedule, steps))


def _candidates(request: CompareOptions, problem: Problem) -> list[CandidateOptimizer]:
    """The optimizers asked for, or the defaults and the file's candidates; before them the file's optimizer,
    so that a run which is cut short has it."""
    own = {name: known.own(name, make) for name, make in problem.candidates.items()}
    if problem.optimizer is not None:
        own.setdefault(known.YOURS, known.users(problem.optimizer))
    names = request.optimizers or (*known.DEFAULT, *own)
    found = {name: own[name] if name in own else known.named(name, own) for name in names}
    if problem.optimizer is not None:
        found[known.YOURS] = known.users(problem.optimizer)
    unique = {candidate.name: candidate for candidate in found.values()}.values()
    return sorted(unique, key=lambda candidate: candidate.name != known.YOURS)


def _with_progress(
    trainings: Sequence[Training], estimate_s: float, progress: Progress
) -> Iterator[tuple[Training, Progress]]:
    """Each training with a function that reports its progress and the time left: first by the estimate, then
    by the mean time of the optimizers before it."""
    begin = time.perf_counter()
    count = len(trainings)
    for done, training in enumerate(trainings):
        each = (time.perf_counter() - begin) / done if done else estimate_s / count
        start = time.perf_counter()

        def say(stage: str, name: str = training.candidate.name, done: int = done) -> None:
            left = (count - done) * each - (time.perf_counter() - start)  # noqa: B023
            progress(f"{name} ({done + 1} of {count}): {stage}, about {max(left, 1.0):.0f} s left")

        yield training, say


def _measure(
    setup: SharedSetup,
    training: Training,
    request: CompareOptions,
    progress: Progress,
    share_s: float,
    found: list[results.OptimizerRuns],
) -> None:
    """Adds the optimizer's runs to `found`; where it is cut short, those that came to their end.

    No setting beyond the grid is begun where the judging would end after `share_s` seconds.
    """
    plan, candidate = setup.plan, training.candidate
    until = time.perf_counter() + share_s
    setup.budget.require(plan.compile_s)
    training = _scheduled(training, request, plan.steps)
    rates = [1.0] if candidate.usual is None else grid_around(candidate.usual, plan.grid)
    grid = [TrialSetting(rate, candidate.usual_decay) for rate in rates]
    tuning = setup.tuning if len(grid) > 1 else ()
    progress("compiling")
    engine = setup.engine(training, max(len(grid) * len(tuning), len(setup.feeds)))
    kept = keeps_runs(setup.feeds[0], len(grid) * max(len(tuning), 1))
    judges = 0 if setup.tunes_on_judges else len(setup.feeds)
    settings = SearchSettings(
        plan.steps, request.exhaustive, kept, _validation(setup, training), until, judges
    )
    stored = state_bytes(jax.eval_shape(training.start, setup.feeds[0].weights, candidate.any_setting))
    runs: list[TrainingRun] = []
    measured = partial(results.runs_of_optimizer, candidate, engine, stored)
    try:
        whole = not tuning or search(engine, tuning, grid, settings, progress, runs)
        best = best_setting(runs, plan.steps) if runs else grid[0]
        probe = UpdateProbe(training) if request.updates else None
        if runs and setup.tunes_on_judges and probe is None:
            judged = [run for run in runs if run.setting == best]
        else:
            judged = [TrainingRun(best, feed) for feed in setup.feeds]
            finish(engine, judged, settings, progress, None if probe is None else probe.take)
    except (KeyboardInterrupt, BudgetSpent):
        if runs := completed_runs(runs, settings):
            best = best_setting(runs, plan.steps)
            judged = [run for run in runs if run.setting == best]
            found.append(measured(runs, judged, cut=True, judged_by_tuning=not setup.tunes_on_judges))
        raise
    updates = () if probe is None else probe.layers()
    found.append(measured(runs, judged, cut=not whole, updates=updates))


def _nothing_measured(name: str, budget: Budget) -> GradscopeError:
    return GradscopeError(
        f"The budget of {readable(budget.seconds)} was spent before {name} was trained.",
        why="Loading, compiling and the first runs took longer than estimated.",
        fix="Give a larger --budget, or fewer --steps.",
        slug="budget-too-small",
    )


def _validation(setup: SharedSetup, training: Training) -> Callable[[TrainingRun], float] | None:
    evaluate = setup.evaluate
    if evaluate is None:
        return None
    return lambda run: evaluate(training.evaluation_weights(run.weights, run.state))


def _comparison(
    found: Sequence[results.OptimizerRuns],
    setup: SharedSetup,
    request: CompareOptions,
    problem: Problem,
    early: EarlyEnd | None = None,
) -> Comparison:
    steps, feeds = setup.plan.steps, setup.feeds
    window = window_of(steps)
    start = _start(found)
    lacks_floor = any(falls_without_end(m.tuning) for m in found)
    best = math.inf if lacks_floor else min(results.end_of_judged(m, window) for m in found)
    target = results.target_of(best, start) if request.target is None else request.target
    stored = sum(int(weight.size) * weight.dtype.itemsize for weight in feeds[0].weights)
    scale = results.RankingScale(steps, window, start, target, stored, results.worst_of(best, start))
    rows = results.ranked([results.contestant(m, scale) for m in found], -math.inf if lacks_floor else start)
    times = {row.name: results.seconds_by_seed(row, window, target) for row in rows}
    comparison = Comparison(
        contestants=tuple(rows),
        target=target,
        target_is_users=request.target is not None,
        initial_loss=start,
        steps=steps,
        seeds=tuple(feed.seed for feed in feeds),
        tuning_seeds=tuple(feed.seed for feed in setup.tuning),
        grid=setup.plan.grid,
        window=window,
        schedule=request.schedule,
        clip=request.clip,
        parameters=sum(leaf.size for leaf in setup.program.leaves),
        parameter_bytes=stored,
        engine=f"{setup.plan.engine}: {setup.plan.why}",
        compiled=setup.compiled + sum(m.compiled for m in found),
        recommendation="",
        reasons=(),
        users=known.YOURS if problem.optimizer is not None else None,
        profile_scores=profile_scores(times),
        complete=early is None,
        lacks_floor=lacks_floor,
        budget_spent_s=None if early is None else early.budget_s,
    )
    comparison = replace(
        comparison, contestants=tuple(replace(row, summary=results.sentence(row, comparison)) for row in rows)
    )
    noisy = feeds[0].batches_per_pass != 1 or feeds[0].problem.takes_key
    said = reasons(comparison, noisy=noisy, batches=feeds[0].batches_per_pass)
    ended = () if early is None else (early.sentence,)
    cut = (*_cut([m.candidate.name for m in found if m.cut]), *_unjudged(found))
    frozen = filter(None, [note(setup.program, setup.frozen)])
    notes = (*ended, *setup.plan.notes, *_left_out(setup), *cut, *frozen, *said)
    return replace(comparison, recommendation=_line(comparison, setup, problem), reasons=notes)


def _line(comparison: Comparison, setup: SharedSetup, problem: Problem) -> str:
    """What to paste; empty where no optimizer is the best."""
    code = recommendation(comparison)
    if not code or comparison.best is comparison.own:
        return code
    return assigned(around(code, setup.feeds[0], setup.frozen), problem)


def _cut(names: Sequence[str]) -> Iterator[str]:
    if names:
        theirs = "its best one may lie" if len(names) == 1 else "their best ones may lie"
        yield f"Not every setting of {listed(names)} was tried: {theirs} beyond those that were."


def _unjudged(found: Sequence[results.OptimizerRuns]) -> Iterator[str]:
    names = [m.candidate.name for m in found if m.judged_by_tuning]
    if names:
        it = "it has no losses" if len(names) == 1 else "they have no losses"
        yield (
            f"{listed(names)} did not come to the seeds that judge: {it} but those of the seeds that tuned, "
            "and cannot be compared by seed."
        )


def _left_out(setup: SharedSetup) -> Iterator[str]:
    left = max(feed.other_forms for feed in setup.feeds)
    if left:
        drawn = left + setup.plan.steps
        why = "they differ from the first in shape or in a Python value"
        yield f"{left} of {drawn} batches were skipped, because {why}."


def _start(found: Sequence[results.OptimizerRuns]) -> float:
    judged = [run for m in found if not m.judged_by_tuning for run in m.judged]
    runs = judged or [run for m in found for run in m.judged]
    first = {run.feed.seed: run.losses[0] for run in runs if run.losses}
    return median(list(first.values()))

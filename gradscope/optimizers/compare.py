"""`compare`: train every candidate on the same problem, from the same parameters, on the same batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import jax

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers import candidates as known, results
from gradscope.optimizers.candidates import CandidateOptimizer
from gradscope.optimizers.curves import median, profile_scores, window_of
from gradscope.optimizers.engines import TrainingRun
from gradscope.optimizers.feed import feed_of
from gradscope.optimizers.planning import keeps_runs
from gradscope.optimizers.search import SearchSettings, completed_runs, grid_around, search
from gradscope.optimizers.setup import SharedSetup, prepared, training_of
from gradscope.optimizers.training import Training, fitted, schedule_named, state_bytes
from gradscope.optimizers.verdict import reasons, recommendation
from gradscope.records import Comparison
from gradscope.records.options import SCHEDULES, VMAP, CompareOptions
from gradscope.records.progress import Progress


def compare(
    start: Callable[[int], Problem], request: CompareOptions, seed: int, progress: Progress
) -> Comparison:
    """`start(seed)` gives the problem with the parameters, the order of batches and the keys of that seed.

    Ctrl-C ends the comparison early: the optimizers that were measured by then are compared.
    """
    _check(request)
    problem = start(seed)
    progress("tracing")
    first = feed_of(problem, seed)
    program = first.program()
    contestants = _candidates(request, problem)
    # Before anything is compiled: an optimizer that cannot train the problem ends the run.
    trainings = [fitted(training_of(program, first, candidate, request, 1)) for candidate in contestants]
    setup = prepared(start, request, program, first, len(contestants), progress)
    found: list[results.OptimizerRuns] = []
    for training, say in _with_progress(trainings, setup.plan.estimate_s, progress):
        try:
            _measure(setup, training, request, say, found)
        except KeyboardInterrupt:
            if not found:
                raise
            return _comparison(found, setup, request, problem, complete=False)
    return _comparison(found, setup, request, problem, complete=True)


def _candidates(request: CompareOptions, problem: Problem) -> list[CandidateOptimizer]:
    """The optimizers asked for, or the defaults and the file's candidates; and the file's optimizer."""
    own = {name: known.own(name, make) for name, make in problem.candidates.items()}
    if problem.optimizer is not None:
        own.setdefault(known.YOURS, known.users(problem.optimizer))
    names = request.optimizers or (*known.DEFAULT, *own)
    found = {name: own[name] if name in own else known.named(name, own) for name in names}
    if problem.optimizer is not None:
        found[known.YOURS] = known.users(problem.optimizer)
    return list({candidate.name: candidate for candidate in found.values()}.values())


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
    found: list[results.OptimizerRuns],
) -> None:
    """Adds the optimizer's runs to `found`; after Ctrl-C, those that came to their end."""
    plan, candidate = setup.plan, training.candidate
    if training.schedule is not None:
        training = replace(training, schedule=schedule_named(request.schedule, plan.steps))
    rates = [1.0] if candidate.usual is None else grid_around(candidate.usual, plan.grid)
    progress("compiling")
    engine = setup.engine(training, len(rates))
    kept = keeps_runs(setup.feeds[0], len(rates) * len(setup.feeds))
    settings = SearchSettings(plan.steps, request.exhaustive, kept, _validation(setup, training))
    stored = state_bytes(jax.eval_shape(training.start, setup.feeds[0].weights, 1e-3))
    runs: list[TrainingRun] = []
    try:
        search(engine, setup.feeds, rates, settings, progress, runs)
    except KeyboardInterrupt:
        if runs := completed_runs(runs, settings):
            found.append(results.runs_of_optimizer(candidate, engine, runs, stored, cut=True))
        raise
    found.append(results.runs_of_optimizer(candidate, engine, runs, stored))


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
    complete: bool,
) -> Comparison:
    steps, feeds = setup.plan.steps, setup.feeds
    window = window_of(steps)
    start = _start(found)
    best = min((results.end_at_best(m, steps) for m in found), default=math.inf)
    target = results.target_of(best, start) if request.target is None else request.target
    stored = sum(int(weight.size) * weight.dtype.itemsize for weight in feeds[0].weights)
    scale = results.RankingScale(steps, window, start, target, stored, results.worst_of(best, start))
    rows = results.ranked([results.contestant(m, scale) for m in found], start)
    times = {row.name: results.seconds_by_seed(row, window, target) for row in rows}
    comparison = Comparison(
        contestants=tuple(rows),
        target=target,
        target_is_users=request.target is not None,
        initial_loss=start,
        steps=steps,
        seeds=tuple(feed.seed for feed in feeds),
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
        complete=complete,
    )
    comparison = replace(
        comparison, contestants=tuple(replace(row, summary=results.sentence(row, comparison)) for row in rows)
    )
    noisy = feeds[0].batches_per_pass != 1 or feeds[0].problem.takes_key
    said = reasons(comparison, noisy=noisy, batches=feeds[0].batches_per_pass)
    cut = (f"Not every learning rate of {m.candidate.name} was tried." for m in found if m.cut)
    notes = (*setup.plan.notes, *_left_out(setup), *cut, *said)
    return replace(comparison, recommendation=recommendation(comparison), reasons=notes)


def _left_out(setup: SharedSetup) -> Iterator[str]:
    left = max(feed.other_shapes for feed in setup.feeds)
    if left:
        drawn = left + setup.plan.steps
        yield f"{left} of {drawn} batches were skipped, because their shape differs from that of the first."


def _start(found: Sequence[results.OptimizerRuns]) -> float:
    first = {run.feed.seed: run.losses[0] for m in found for run in m.runs if run.losses}
    return median(list(first.values()))


def _check(request: CompareOptions) -> None:
    for option, value in (
        ("--steps", request.steps),
        ("--seeds", request.seeds),
        ("--lr-grid", request.grid),
        ("--budget", request.budget_s),
        ("--clip", request.clip),
    ):
        if value is not None and not value > 0:
            raise GradscopeError(
                f"{option} is {value}.",
                why="There would be nothing to measure.",
                fix="Give a number above 0.",
                slug="bad-option",
            )
    if request.target is not None and not math.isfinite(request.target):
        raise GradscopeError(
            f"--target is {request.target}.",
            why="It is the loss that each optimizer has to reach.",
            fix="Give a finite number.",
            slug="bad-option",
        )
    for option, choice, choices in (
        ("--schedule", request.schedule, SCHEDULES),
        ("--vmap", request.vmap, VMAP),
    ):
        if choice not in choices:
            raise GradscopeError(
                f'"{option} {choice}" is not a valid value.',
                fix=f"Use one of: {', '.join(choices)}.",
                slug="bad-option",
            )

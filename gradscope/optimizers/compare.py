"""`compare`: every candidate on the same problem, from the same starts, on the same batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.measure.compiling import compile_program
from gradscope.optimizers import candidates as known, results
from gradscope.optimizers.candidates import Candidate
from gradscope.optimizers.curves import median, profile_scores, window_of
from gradscope.optimizers.engines import Batched, Engine, Run, Scanned, Stepwise
from gradscope.optimizers.feed import Feed, feed_of
from gradscope.optimizers.planning import Plan, engine_for, keeps_runs, plan
from gradscope.optimizers.search import Progress, Terms, best_rate, grid_around, search
from gradscope.optimizers.training import Training, fitted, schedule_named, state_bytes
from gradscope.optimizers.verdict import reasons, recommendation
from gradscope.options import CompareOptions
from gradscope.records import Comparison
from gradscope.trace.program import Program


@dataclass
class Ground:
    """The traced problem, and what each seed starts from and is fed."""

    program: Program
    feeds: list[Feed]
    evaluate: Callable[[Sequence[Any]], float] | None
    """Validation loss of given weights."""


def compare(
    start: Callable[[int], Problem], request: CompareOptions, seed: int, progress: Progress
) -> Comparison:
    """`start(seed)` gives the problem with the parameters, the order of batches and the keys of that seed.

    Ctrl-C ends it early: what was measured by then is compared.
    """
    _check(request)
    problem = start(seed)
    progress("tracing")
    first = feed_of(problem, seed)
    program = first.program()
    contestants = _candidates(request, problem)
    for candidate in contestants:
        _training(program, first, candidate, request, 1)
    chosen, ground = _prepare(start, request, program, first, len(contestants), progress)
    found: list[results.Measured] = []
    compiled, complete = 0, True
    try:
        for number, candidate in enumerate(contestants, 1):
            say = _saying(progress, f"{candidate.name} ({number} of {len(contestants)})")
            one, programs = _measure(ground, candidate, request, chosen, say)
            found.append(one)
            compiled += programs
    except KeyboardInterrupt:
        if not found:
            raise
        complete = False
    return _comparison(found, ground, request, chosen, problem, compiled, complete)


def _candidates(request: CompareOptions, problem: Problem) -> list[Candidate]:
    """Those asked for, the file's own, and its optimizer as it is; a name twice counts once."""
    own = dict(problem.candidates)
    found = [
        known.own(n, own.pop(n)) if n in own else known.named(n) for n in request.optimizers or known.DEFAULT
    ]
    found += [known.own(name, make) for name, make in own.items()]
    if problem.optimizer is not None:
        found.append(known.users(problem.optimizer))
    return list({candidate.name: candidate for candidate in found}.values())


def _prepare(
    start: Callable[[int], Problem],
    request: CompareOptions,
    program: Program,
    first: Feed,
    candidates: int,
    progress: Progress,
) -> tuple[Plan, Ground]:
    progress("measuring a step")
    step_s, compile_s = _timed(program, first, request)
    roughly = plan(request, ("step", ""), candidates, step_s, compile_s)
    first.keep(roughly.steps + 20)
    run_steps = roughly.steps * roughly.seeds * roughly.grid
    engine = engine_for(program, first.is_kept, run_steps, request.vmap)
    chosen = plan(request, engine, candidates, step_s, compile_s)
    feeds = [first]
    for number in range(1, chosen.seeds):
        progress(f"preparing seed {number + 1} of {chosen.seeds}")
        feeds.append(feed_of(start(first.seed + number), first.seed + number))
    for feed in feeds[1:]:
        feed.keep(chosen.steps)
    if any(feed.is_kept != first.is_kept for feed in feeds):
        chosen = replace(chosen, engine="step", why="the batches do not fit in memory together")
    return chosen, Ground(program, feeds, _evaluation(first))


def _training(
    program: Program, feed: Feed, candidate: Candidate, request: CompareOptions, steps: int
) -> Training:
    """Raises where the candidate does not fit the problem."""
    # The user's own optimizer is measured as it is, with its own schedule and clipping.
    as_it_is = candidate.code == "optimizer"
    schedule = None if as_it_is else schedule_named(request.schedule, steps)
    training = Training(program, feed.tracer, candidate, schedule, None if as_it_is else request.clip)
    return fitted(training, feed.weights, next(iter(feed.steps(1))))


def _timed(program: Program, feed: Feed, request: CompareOptions) -> tuple[float, float]:
    """Seconds of one step of plain SGD, and of compiling it. Raises where the loss starts as no number."""
    begin = time.perf_counter()
    engine = Stepwise(_training(program, feed, known.named("sgd"), request, 10), feed)
    compile_s = time.perf_counter() - begin
    run = Run(0.0, feed)
    engine.advance([run], 1)
    if not np.isfinite(run.losses[0]):
        raise GradscopeError(
            f"The loss is {run.losses[0]} before the first step.",
            why="No optimizer can lower a loss that is not a number.",
            fix="Run `gradscope check` on the same target: it names where the value was born.",
            slug="loss-not-finite",
        )
    engine.step_seconds.clear()
    for block in range(1, 4):
        engine.advance([run], 1 + 5 * block)
    return min(engine.step_seconds), compile_s


def _engine(kind: str, training: Training, feeds: Sequence[Feed], rates: int) -> Engine:
    if kind == "vmap" and not training.candidate.searches_lines:
        return Batched(training, feeds, rates)
    return (Stepwise if kind == "step" else Scanned)(training, feeds[0])


def _measure(
    ground: Ground, candidate: Candidate, request: CompareOptions, chosen: Plan, progress: Progress
) -> tuple[results.Measured, int]:
    training = _training(ground.program, ground.feeds[0], candidate, request, chosen.steps)
    rates = [1.0] if candidate.usual is None else grid_around(candidate.usual, chosen.grid)
    progress("compiling")
    engine = _engine(chosen.engine, training, ground.feeds, len(rates))
    runs_at_once = len(rates) * len(ground.feeds)
    terms = Terms(chosen.steps, chosen.grid, request.exhaustive, keeps_runs(ground.feeds[0], runs_at_once))
    runs = search(engine, ground.feeds, rates, terms, progress)
    state = jax.eval_shape(training.start, ground.feeds[0].weights, 1e-3)
    found = results.measured(candidate, engine, runs, state_bytes(state))
    if ground.evaluate is not None:
        progress("validating")
        best = best_rate(runs, chosen.steps)
        found.validation.update(
            (id(run), ground.evaluate(training.judged(run.weights, run.state)))
            for run in runs
            if run.rate == best and run.weights is not None
        )
    for run in runs:
        run.forget()
    return found, engine.compiled


def _evaluation(feed: Feed) -> Callable[[Sequence[Any]], float] | None:
    """The loss on the validation batch, with one key for all."""
    batch = feed.problem.validation_batch
    if batch is None:
        return None
    program = feed.tracer.trace(batch)
    others, consts = feed.tracer.inputs(batch).others, list(program.body.consts)
    run = compile_program(program.loss, (feed.weights, others, consts), runs=1_000)
    return lambda weights: float(run(list(weights), others, consts))


def _comparison(
    found: Sequence[results.Measured],
    ground: Ground,
    request: CompareOptions,
    chosen: Plan,
    problem: Problem,
    compiled: int,
    complete: bool,
) -> Comparison:
    window = window_of(chosen.steps)
    start = _start(found)
    best = min((results.end_at_best(m, chosen.steps) for m in found), default=math.inf)
    target = results.target_of(best, start) if request.target is None else request.target
    size = sum(leaf.size for leaf in ground.program.leaves)
    stored = sum(int(weight.size) * weight.dtype.itemsize for weight in ground.feeds[0].weights)
    scale = results.Scale(chosen.steps, window, start, target, stored)
    worst = start + max(start - best, 0.0)
    rows = results.ranked([results.contestant(m, scale, worst) for m in found])
    rows = [replace(row, suits=results.sentence(row, rows[0], start)) for row in rows]
    times = {row.name: results.seconds_by_seed(row, window, target) for row in rows}
    comparison = Comparison(
        contestants=tuple(rows),
        target=target,
        target_is_users=request.target is not None,
        initial_loss=start,
        steps=chosen.steps,
        seeds=tuple(feed.seed for feed in ground.feeds),
        window=window,
        schedule=request.schedule,
        clip=request.clip,
        parameters=size,
        parameter_bytes=stored,
        engine=f"{chosen.engine}: {chosen.why}",
        compiled=compiled,
        recommendation="",
        reasons=chosen.notes,
        users="yours" if problem.optimizer is not None else None,
        profile_scores=profile_scores(times),
        complete=complete,
    )
    noisy = ground.feeds[0].batches_per_pass != 1 or problem.takes_key
    return replace(
        comparison,
        recommendation=recommendation(comparison),
        reasons=(*chosen.notes, *reasons(comparison, noisy=noisy)),
    )


def _start(found: Sequence[results.Measured]) -> float:
    first = {run.feed.seed: run.losses[0] for m in found for run in m.runs if run.losses}
    return median(list(first.values()))


def _saying(progress: Progress, who: str) -> Progress:
    return lambda stage: progress(f"{who}: {stage}")


def _check(request: CompareOptions) -> None:
    for option, value in (
        ("--steps", request.steps),
        ("--seeds", request.seeds),
        ("--lr-grid", request.grid),
    ):
        if value is not None and value < 1:
            raise GradscopeError(
                f"{option} is {value}.",
                why="Nothing would be measured.",
                fix="Give a number of 1 or more.",
                slug="bad-option",
            )

"""What all optimizers share: the traced problem, the plan of the runs, and the batches of each seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers.batched import Batched
from gradscope.optimizers.budget import Budget
from gradscope.optimizers.candidates import CandidateOptimizer, named
from gradscope.optimizers.engines import (
    CHUNK,
    Engine,
    Looped,
    Stepwise,
    TrainingRun,
    compiled_gradient,
)
from gradscope.optimizers.feed import BatchTable, Feed, feed_of, keep, repeat, table_of
from gradscope.optimizers.lattice import TrialSetting
from gradscope.optimizers.planning import RunPlan, Work, engine_for, plan
from gradscope.optimizers.training import Training, schedule_named
from gradscope.records.options import CompareOptions
from gradscope.records.progress import Progress
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.program import Program

REPEATS = (
    "Every seed gives the same run, because the parameters and the batches are the same and no key is used; "
    "one seed was measured. Define `init(key)` to see how much the initialization matters."
)
BLOCKS = 3
"""Blocks of steps that are timed; the median counts."""
SLOW_STEP_S = 0.02


@dataclass(frozen=True)
class SharedSetup:
    """The same for all optimizers."""

    program: Program
    feeds: Sequence[Feed]
    """Of the seeds that judge."""
    tuning: Sequence[Feed]
    """Of the seeds that tune: the same where no seed changes anything, none where nothing is tuned."""
    table: BatchTable | None
    """`None` where the batches are streamed."""
    plan: RunPlan
    budget: Budget
    evaluate: Callable[[Sequence[Any]], float] | None
    """The validation loss of given weights."""
    gradient: Compiled
    """The gradient of the loss, compiled for steps that are called one by one."""
    compiled: int
    """Number of programs compiled so far."""
    frozen: Sequence[bool] = ()
    """The weights that the user's optimizer does not train."""

    @property
    def tunes_on_judges(self) -> bool:
        """Whether one run stands for all seeds, so that what chose the setting judges it."""
        return any(feed is self.feeds[0] for feed in self.tuning)

    @property
    def every_feed(self) -> list[Feed]:
        return list({id(feed): feed for feed in (*self.feeds, *self.tuning)}.values())

    def engine(self, training: Training, lanes: int) -> Engine:
        if self.plan.engine == "step" or self.table is None:
            return Stepwise(training, self.gradient, self.budget)
        if self.plan.engine == "vmap" and not training.candidate.uses_line_search:
            return Batched(training, self.every_feed, self.table, lanes, self.budget)
        return Looped(training, self.every_feed, self.table, self.budget)


def prepared(
    start: Callable[[int], Problem],
    request: CompareOptions,
    program: Program,
    first: Feed,
    candidates: Sequence[CandidateOptimizer],
    budget: Budget,
    progress: Progress,
) -> SharedSetup:
    """Time a step, choose the plan and the engine, and draw the batches of all seeds."""
    progress("measuring a step")
    gradient = compiled_gradient(program, first)
    step_s, compile_s = _timed(program, first, gradient)
    tuned = sum(candidate.usual is not None for candidate in candidates)
    work = Work(tuned, len(candidates) - tuned, step_s, compile_s)
    chosen = plan(request, work, budget)
    tunes = tuned > 0 and chosen.grid > 1
    count = chosen.seeds + (chosen.tuning_seeds if tunes else 0)
    feeds = [first]
    for number in range(1, count):
        progress(f"preparing seed {number + 1} of {count}")
        feeds.append(feed_of(start(first.seed + number), first.seed + number, first))
    progress("drawing batches")
    kept = keep(feeds, chosen.steps)
    if not kept:  # Then every run draws them again.
        chosen = plan(request, replace(work, step_s=step_s + drawing_time(first)), budget)
    judging = feeds[: chosen.seeds]
    tuning = feeds[len(feeds) - chosen.tuning_seeds :] if tunes else []
    if repeat(feeds):
        judging, tuning = [first], [first] if tunes else []
        said = (REPEATS,) if chosen.seeds > 1 else ()
        chosen = replace(chosen, seeds=1, tuning_seeds=1, notes=(*chosen.notes, *said))
    engine, why = engine_for(program, kept, chosen.run_steps, request.vmap)
    feeds = list({id(feed): feed for feed in (*judging, *tuning)}.values())
    table = table_of(feeds) if kept and engine != "step" else None
    evaluate = _evaluation(first)
    compiled = 3 + (evaluate is not None)
    if engine != "step":  # The gradient is compiled anew, inside the program of each optimizer.
        chosen = replace(chosen, compile_s=compile_s + gradient.trace_s + gradient.compile_s)
    plan_of_all = replace(chosen, engine=engine, why=why)
    return SharedSetup(program, judging, tuning, table, plan_of_all, budget, evaluate, gradient, compiled)


def training_of(
    program: Program,
    feed: Feed,
    candidate: CandidateOptimizer,
    request: CompareOptions,
    frozen: Sequence[bool] = (),
) -> Training:
    """The user's own optimizer is trained unchanged, with its own schedule, clipping and frozen part."""
    if candidate.unchanged:
        return Training(program, feed, candidate)
    return Training(program, feed, candidate, schedule_named(request.schedule, 1), request.clip, frozen)


def _timed(program: Program, feed: Feed, gradient: Compiled) -> tuple[float, float]:
    """Seconds of one step of Adam on a batch in memory, and seconds to compile one optimizer.

    Raises `GradscopeError` if the loss before the first step is not finite.
    """
    begin = time.perf_counter()
    engine = Stepwise(Training(program, feed, named("adam")), gradient)
    compile_s = time.perf_counter() - begin
    others = [leaf if isinstance(leaf, jax.Array) else jax.device_put(leaf) for leaf in feed.opening]
    run = TrainingRun(TrialSetting(0.0), replace(feed, kept=[others] * (1 + BLOCKS * CHUNK)))
    engine.advance([run], 1)
    require_finite(run.losses[0])
    # A few repetitions are enough for a slow step.
    steps = CHUNK if engine.step_seconds[0] < SLOW_STEP_S else 5
    engine.step_seconds.clear()
    for block in range(1, 1 + BLOCKS):
        engine.advance([run], 1 + steps * block)
    return sorted(engine.step_seconds)[BLOCKS // 2], compile_s


def drawing_time(feed: Feed) -> float:
    """Seconds to draw one of the user's batches, including its share of starting the iterator."""
    begin = time.perf_counter()
    for _ in feed.drawn(CHUNK):
        pass
    return (time.perf_counter() - begin) / CHUNK


def require_finite(loss: float) -> None:
    if not np.isfinite(loss):
        raise GradscopeError(
            f"The loss is {loss} before the first step.",
            why="No optimizer can lower a loss that is NaN or infinite.",
            fix="Run `gradscope check` on the same target to find the origin of the first NaN or infinity.",
            slug="loss-not-finite",
        )


def _evaluation(feed: Feed) -> Callable[[Sequence[Any]], float] | None:
    """The loss on the validation batch, with the same key for all; infinite where it is NaN."""
    batch = feed.problem.validation_batch
    if batch is None:
        return None
    program = feed.tracer.trace(batch)
    others, consts = feed.tracer.inputs(batch).others, list(program.body.consts)
    run = compile_program(program.loss, (feed.weights, others, consts), runs=1_000)

    def evaluate(weights: Sequence[Any]) -> float:
        loss = float(run(list(weights), others, consts))
        return np.inf if np.isnan(loss) else loss

    return evaluate

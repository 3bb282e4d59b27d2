"""What the optimizers have in common: the traced problem, how much is run, and what each seed is fed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers.candidates import Candidate, named
from gradscope.optimizers.engines import CHUNK, Batched, Engine, Looped, Run, Stepwise, compiled_gradient
from gradscope.optimizers.feed import Feed, Table, feed_of, keep, repeat, table_of
from gradscope.optimizers.planning import Plan, engine_for, plan
from gradscope.optimizers.training import Training, schedule_named
from gradscope.records.options import CompareOptions
from gradscope.records.progress import Progress
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.program import Program

REPEATS = (
    "Every seed gives the same run: the parameters are the same, the batches too, and nothing is drawn "
    "by a key. An `init(key)` that draws them shows how much the start matters."
)
BLOCKS = 3
"""Of steps that are timed; the middle one counts."""
SLOW_STEP_S = 0.02


@dataclass(frozen=True)
class Ground:
    """The same for all."""

    program: Program
    feeds: Sequence[Feed]
    table: Table | None
    """`None` where the batches are streamed."""
    plan: Plan
    evaluate: Callable[[Sequence[Any]], float] | None
    """Validation loss of given weights."""
    gradient: Compiled
    """Of the loss, compiled for steps that are called one by one."""
    compiled: int
    """Programs that were compiled so far."""

    def engine(self, training: Training, rates: int) -> Engine:
        if self.plan.engine == "step" or self.table is None:
            return Stepwise(training, self.gradient)
        if self.plan.engine == "vmap" and not training.candidate.searches_lines:
            return Batched(training, self.feeds, self.table, rates)
        return Looped(training, self.feeds, self.table)


def prepared(
    start: Callable[[int], Problem],
    request: CompareOptions,
    program: Program,
    first: Feed,
    candidates: int,
    progress: Progress,
) -> Ground:
    """Measures a step, decides how much is run and how, and draws the batches of all seeds."""
    progress("measuring a step")
    gradient = compiled_gradient(program, first)
    step_s, compile_s = _timed(program, first, gradient)
    chosen = plan(request, candidates, step_s, compile_s)
    feeds = [first]
    for number in range(1, chosen.seeds):
        progress(f"preparing seed {number + 1} of {chosen.seeds}")
        feeds.append(feed_of(start(first.seed + number), first.seed + number, first))
    progress("drawing batches")
    kept = keep(feeds, chosen.steps)
    if not kept:  # Then every run draws them anew.
        chosen = plan(request, candidates, step_s + drawing_time(first), compile_s)
        feeds = feeds[: chosen.seeds]
    if repeat(feeds):
        feeds, chosen = [first], replace(chosen, seeds=1, notes=(*chosen.notes, REPEATS))
    run_steps = chosen.steps * chosen.seeds * chosen.grid
    engine, why = engine_for(program, kept, run_steps, request.vmap)
    table = table_of(feeds) if kept and engine != "step" else None
    evaluate = _evaluation(first)
    compiled = 3 + (evaluate is not None)
    plan_of_all = replace(chosen, engine=engine, why=why)
    return Ground(program, feeds, table, plan_of_all, evaluate, gradient, compiled)


def training_of(
    program: Program, feed: Feed, candidate: Candidate, request: CompareOptions, steps: int
) -> Training:
    """The user's own optimizer is measured as it is, with its own schedule and clipping."""
    if candidate.as_it_is:
        return Training(program, feed, candidate)
    return Training(program, feed, candidate, schedule_named(request.schedule, steps), request.clip)


def _timed(program: Program, feed: Feed, gradient: Compiled) -> tuple[float, float]:
    """Seconds of one step of Adam on a batch that is at hand, as it is in most runs, and of what is compiled
    for each optimizer. Raises where the loss starts as no number."""
    begin = time.perf_counter()
    engine = Stepwise(Training(program, feed, named("adam")), gradient)
    compile_s = time.perf_counter() - begin
    others = [leaf if isinstance(leaf, jax.Array) else jax.device_put(leaf) for leaf in feed.opening]
    run = Run(0.0, replace(feed, kept=[others] * (1 + BLOCKS * CHUNK)))
    engine.advance([run], 1)
    require_finite(run.losses[0])
    # A slow step is known well enough after a few.
    steps = CHUNK if engine.step_seconds[0] < SLOW_STEP_S else 5
    engine.step_seconds.clear()
    for block in range(1, 1 + BLOCKS):
        engine.advance([run], 1 + steps * block)
    return sorted(engine.step_seconds)[BLOCKS // 2], compile_s


def drawing_time(feed: Feed) -> float:
    """Seconds that one batch of the user's takes to be drawn, its share of starting them included."""
    begin = time.perf_counter()
    for _ in feed.drawn(CHUNK):
        pass
    return (time.perf_counter() - begin) / CHUNK


def require_finite(loss: float) -> None:
    if not np.isfinite(loss):
        raise GradscopeError(
            f"The loss is {loss} before the first step.",
            why="No optimizer can lower a loss that is not a number.",
            fix="Run `gradscope check` on the same target: it names where the value was born.",
            slug="loss-not-finite",
        )


def _evaluation(feed: Feed) -> Callable[[Sequence[Any]], float] | None:
    """The loss on the validation batch, with one key for all; infinite where it is not a number."""
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

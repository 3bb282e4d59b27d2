"""Runs the passes on a problem, in the order in which one decides about the next."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.load.usercode.user_code import user_code
from gradscope.measure import nonfinite_counts
from gradscope.measure.flow import FlowPass, Sample
from gradscope.measure.hazards import measured_hazards
from gradscope.measure.leaf_statistics import weight_statistics
from gradscope.measure.lookahead import alive_later, zero_leaves
from gradscope.measure.measurement import Taken, measurement
from gradscope.measure.updates import updates_of
from gradscope.nonfinite.find import find_origin
from gradscope.records import Measurement, Origin, Skipped
from gradscope.records.progress import Progress
from gradscope.trace.domains.intervals import find_hazards
from gradscope.trace.leaves import complex_leaves, is_array
from gradscope.trace.program import Inputs, Program, Tracer


@dataclass(frozen=True)
class Measured:
    measurement: Measurement
    skipped: tuple[Skipped, ...]
    trace_s: float
    compile_s: float
    run_s: float


@dataclass(frozen=True)
class Run:
    """The batches that were measured, as given and as the program takes them, and what each measured."""

    batches: list[Any]
    inputs: list[Inputs]
    samples: list[Sample]


def measure(problem: Problem, *, batches: int = 1, progress: Progress) -> Measured:
    """The flow pass over `batches` batches, and what its numbers call for: nothing, for a healthy problem."""
    with user_code("drawing batches"):
        drawn = list(itertools.islice(problem.batches(), batches))
    start = time.perf_counter()
    progress("tracing")
    tracer = Tracer(problem)
    program = tracer.trace(drawn[0])
    traced = time.perf_counter()
    used = [batch for batch in drawn if _shapes(batch) == _shapes(drawn[0])]
    inputs = [tracer.inputs(batch, draw) for draw, batch in enumerate(used)]
    hazards = find_hazards(program, drawn[0])
    progress("compiling")
    updates, without = updates_of(problem, tracer, inputs[0])
    flow = FlowPass(program, inputs[0], runs=len(inputs), updates=updates)
    samples = []
    running = time.perf_counter()
    for number, each in enumerate(inputs, 1):
        progress(f"measuring batch {number} of {len(inputs)}" if len(inputs) > 1 else "measuring")
        samples.append(flow(each))
    run_s = time.perf_counter() - running
    taken = _taken(problem, program, flow, Run(used, inputs, samples), progress)
    return Measured(
        measurement=replace(measurement(taken), hazards=measured_hazards(program, hazards, samples)),
        skipped=(*_skipped(problem, len(drawn), len(used), batches), *without, *taken.unfound),
        trace_s=traced - start + flow.compiled.trace_s,
        compile_s=flow.compiled.compile_s,
        run_s=run_s,
    )


def _taken(problem: Problem, program: Program, flow: FlowPass, run: Run, progress: Progress) -> Taken:
    """Look closer where the samples ask for it: at what is not finite, or ahead of a gradient of zero."""
    first = run.inputs[0]
    bad = _worst(run.samples)
    zeros = zero_leaves(program, run.samples) if bad is None else {}
    if zeros:
        progress("looking a few steps ahead")
    if bad is not None:
        progress("counting what is not finite")
    weights = weight_statistics(program, first.weights)
    origin, unfound = _origin(program, run, bad, progress)
    return Taken(
        program=program,
        weights=weights,
        nonfinite_weights=nonfinite_counts.in_weights(first.weights, weights),
        nonfinite_inputs=() if bad is None else nonfinite_counts.in_batch(run.batches[bad]),
        origin=origin,
        unfound=unfound,
        nonfinite_gradients=None if bad is None else nonfinite_counts.in_gradients(program, run.inputs[bad]),
        samples=run.samples,
        alive_later=alive_later(program, flow, first, zeros) if zeros else {},
        optimizer_given=problem.optimizer is not None,
    )


def _worst(samples: list[Sample]) -> int | None:
    """The first sample with something that is not finite; one that it harms goes first."""
    bad = [i for i, sample in enumerate(samples) if nonfinite_counts.seen(sample)]
    return next((i for i in bad if nonfinite_counts.harmful(samples[i])), bad[0] if bad else None)


def _origin(
    program: Program, run: Run, bad: int | None, progress: Progress
) -> tuple[Origin | None, tuple[Skipped, ...]]:
    if bad is None or not nonfinite_counts.harmful(run.samples[bad]):
        return None, ()
    progress("looking for where it was born")
    found = find_origin(program, run.inputs[bad], run.batches[bad])
    return (None, (found,)) if isinstance(found, Skipped) else (found, ())


def _shapes(batch: Any) -> list[Any]:
    """What a batch must share with the first: the shapes of its arrays, and all that is no array."""
    leaves = jax.tree_util.tree_leaves(batch)
    return [(np.shape(leaf), jax.numpy.result_type(leaf)) if is_array(leaf) else leaf for leaf in leaves]


def _skipped(problem: Problem, drawn: int, used: int, asked: int) -> list[Skipped]:
    found = [Skipped("note", note) for note in problem.notes]
    found += [
        Skipped(f"params {name}", "complex: only real floating leaves are differentiated")
        for name in complex_leaves(problem.params)
    ]
    if drawn < asked and problem.has_one_batch:
        text = f"There is one batch, not the {asked} that were asked for: give batches(), data() or --data."
        found.append(Skipped("note", text))
    elif drawn < asked:
        found.append(Skipped(f"{asked - drawn} of {asked} batches", "the data ended before them"))
    if used < drawn:
        reason = "they differ from the first batch in shape or in a Python value; one shape is compiled"
        found.append(Skipped(f"{drawn - used} of {drawn} batches", reason))
    return found


def require_batches(count: int) -> None:
    if count < 1:
        raise GradscopeError(
            f"--batches is {count}.",
            why="At least one batch has to be measured.",
            fix="Give a number of 1 or more.",
            slug="bad-option",
        )

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
from gradscope.load.usercode.fault import headline
from gradscope.load.usercode.user_code import user_code
from gradscope.measure import nonfinite_counts
from gradscope.measure.flow import FlowPass, Sample
from gradscope.measure.hazards import measured_hazards
from gradscope.measure.isolated_branches import isolated_branches
from gradscope.measure.leaf_statistics import weight_statistics
from gradscope.measure.lookahead import nonzero_after_steps, zero_leaves
from gradscope.measure.measurement import Taken, measurement
from gradscope.measure.updates import updates_of
from gradscope.nonfinite.find import find_origin
from gradscope.nonfinite.lost_infinity import find_lost_infinity
from gradscope.records import IsolatedBranch, LostInfinity, Measurement, Origin, Skipped, Timing
from gradscope.records.progress import Progress
from gradscope.trace.domains.intervals import Candidate, find_hazards
from gradscope.trace.leaves import complex_leaves, is_array
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.verification.rules import count_rules


@dataclass(frozen=True)
class Prepared:
    """A problem whose batches are drawn, whose loss is traced, and whose flow pass is compiled: not yet run.

    What measures more than the flow pass takes batch and program from here, so that a loss is traced once.
    """

    problem: Problem
    batches: list[Any]
    """Those that are measured, as the problem gives them."""
    inputs: list[Inputs]
    """The same, as the program takes them."""
    program: Program
    hazards: tuple[Candidate, ...]
    flow: FlowPass
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    timing: Timing


@dataclass(frozen=True)
class Measured:
    measurement: Measurement
    skipped: tuple[Skipped, ...]
    run_s: float


@dataclass(frozen=True)
class Run:
    """What was prepared, and what each of its batches measured."""

    prepared: Prepared
    samples: list[Sample]


def prepare(problem: Problem, *, batches: int = 1, progress: Progress) -> Prepared:
    """Draw `batches` batches, trace the loss at the first, compile the flow pass for all of its shape."""
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
    try:
        flow = FlowPass(program, inputs[0], runs=len(inputs), updates=updates)
    except GradscopeError:
        raise
    except Exception as error:  # a mistake of ours, for the user's own program can be differentiated
        reason = f"gradscope itself failed to measure them, please report it ({headline(error)})"
        program, hazards = program.without_taps(reason), ()
        flow = FlowPass(program, inputs[0], runs=len(inputs), updates=updates)
    return Prepared(
        problem,
        used,
        inputs,
        program,
        hazards,
        flow,
        notes=_notes(problem, len(drawn), batches),
        skipped=(*_skipped(problem, len(drawn), len(used), batches), *without),
        timing=Timing(
            0.0,
            traced - start + flow.compiled.trace_s,
            flow.compiled.compile_s,
            0.0,
            *flow.compiled.blocks,
        ),
    )


def measure(prepared: Prepared, progress: Progress) -> Measured:
    """The flow pass over all batches, and what its numbers call for: nothing, for a healthy problem."""
    program, count, samples = prepared.program, len(prepared.inputs), []
    running = time.perf_counter()
    for number, each in enumerate(prepared.inputs, 1):
        progress(f"measuring batch {number} of {count}" if count > 1 else "measuring")
        samples.append(prepared.flow(each))
    run_s = time.perf_counter() - running
    taken = _taken(Run(prepared, samples), progress)
    hazards = measured_hazards(program, prepared.hazards, samples)
    branches, unjudged = _isolated_branches(Run(prepared, samples))
    return Measured(
        measurement=replace(
            measurement(taken),
            hazards=hazards,
            isolated_branches=branches,
            custom_rules=count_rules(program.body, len(prepared.inputs[0].weights)),
        ),
        skipped=(*prepared.skipped, *taken.unfound, *unjudged),
        run_s=run_s,
    )


def _taken(run: Run, progress: Progress) -> Taken:
    """Look closer where the samples ask for it: at what is not finite, or ahead of a gradient of zero."""
    prepared, program = run.prepared, run.prepared.program
    first = prepared.inputs[0]
    bad = _worst(run.samples)
    harmed = bad is not None and nonfinite_counts.harmful(run.samples[bad])
    zeros = {} if harmed else zero_leaves(program, run.samples)
    if zeros:
        progress("looking a few steps ahead")
    later = nonzero_after_steps(program, prepared.flow, first, zeros) if zeros else {}
    if bad is not None:
        progress("counting what is not finite")
    weights = weight_statistics(program, first.weights)
    origin, unfound = _origin(run, bad, progress)
    lost = _lost_infinity(run, [leaf for leaf, alive in later.items() if not alive.any()], progress)
    gradients = (
        None if bad is None else nonfinite_counts.in_gradients(program, prepared.flow, prepared.inputs[bad])
    )
    return Taken(
        program=program,
        weights=weights,
        nonfinite_weights=nonfinite_counts.in_weights(first.weights, weights),
        nonfinite_inputs=() if bad is None else nonfinite_counts.in_batch(prepared.batches[bad]),
        origin=origin,
        lost_infinity=None if isinstance(lost, Skipped) else lost,
        unfound=(*unfound, lost) if isinstance(lost, Skipped) else unfound,
        nonfinite_gradients=gradients,
        samples=run.samples,
        nonzero_after_steps=later,
        optimizer_given=prepared.problem.optimizer is not None,
    )


def _worst(samples: list[Sample]) -> int | None:
    """The first sample with something that is not finite; one that it harms goes first."""
    bad = [i for i, sample in enumerate(samples) if nonfinite_counts.seen(sample)]
    return next((i for i in bad if nonfinite_counts.harmful(samples[i])), bad[0] if bad else None)


def _origin(run: Run, bad: int | None, progress: Progress) -> tuple[Origin | None, tuple[Skipped, ...]]:
    if bad is None or not nonfinite_counts.harmful(run.samples[bad]):
        return None, ()
    progress("looking for where it was born")
    found = find_origin(run.prepared.program, run.prepared.inputs[bad], run.prepared.batches[bad])
    return (None, (found,)) if isinstance(found, Skipped) else (found, ())


def _lost_infinity(run: Run, dead: list[int], progress: Progress) -> LostInfinity | Skipped | None:
    if not dead:
        return None
    progress("looking for an infinity that is divided away")
    prepared = run.prepared
    return find_lost_infinity(prepared.program, prepared.inputs[0], prepared.batches[0], dead)


def _isolated_branches(run: Run) -> tuple[tuple[IsolatedBranch, ...], tuple[Skipped, ...]]:
    if any(nonfinite_counts.harmful(sample) for sample in run.samples):
        return (), ()
    prepared = run.prepared
    try:
        return isolated_branches(prepared.program, prepared.flow, prepared.inputs[0]), ()
    except Exception as error:  # the report is whole without it
        return (), (Skipped("isolated-branch", f"gradscope itself failed there: {headline(error)}"),)


def _shapes(batch: Any) -> list[Any]:
    """What a batch must share with the first: the shapes of its arrays, and all that is no array."""
    leaves = jax.tree_util.tree_leaves(batch)
    return [(np.shape(leaf), jax.numpy.result_type(leaf)) if is_array(leaf) else leaf for leaf in leaves]


def _notes(problem: Problem, drawn: int, asked: int) -> tuple[str, ...]:
    if drawn == asked or not problem.has_one_batch:
        return tuple(problem.notes)
    text = f"There is one batch, not the {asked} that were asked for: give batches(), data() or --data."
    return *problem.notes, text


def _skipped(problem: Problem, drawn: int, used: int, asked: int) -> list[Skipped]:
    found = [
        Skipped(f"params {name}", "complex: only real floating leaves are differentiated")
        for name in complex_leaves(problem.params)
    ]
    if drawn < asked and not problem.has_one_batch:
        found.append(Skipped(f"{asked - drawn} of {asked} batches", "the data ended before them"))
    if used < drawn:
        reason = "they differ from the first batch in shape or in a Python value; one shape is compiled"
        found.append(Skipped(f"{drawn - used} of {drawn} batches", reason))
    return found

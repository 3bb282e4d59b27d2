"""Runs the passes on a problem, in the order in which one decides about the next."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
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
from gradscope.measure.leaf_statistics import weight_statistics
from gradscope.measure.lookahead import nonzero_after_steps, zero_leaves
from gradscope.measure.measurement import Taken, measurement
from gradscope.measure.objective import objective_of
from gradscope.nonfinite.find import find_origin
from gradscope.nonfinite.lost_infinity import find_lost_infinity
from gradscope.records import LostInfinity, Measurement, Origin, ShortTraining, Skipped, Timing
from gradscope.records.progress import Progress
from gradscope.trace.domains.intervals import Candidate, find_hazards
from gradscope.trace.leaves import complex_leaves, is_array
from gradscope.trace.loss_terms import loss_terms
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.training.optimizer import StepRule
from gradscope.training.short import TooLarge, Trained, short_training, trained_from
from gradscope.verification.rules import count_rules


@dataclass(frozen=True)
class Prepared:
    """A problem whose batches are drawn, whose loss is traced, and whose flow pass is compiled: not yet run.

    What measures more than the flow pass takes batch and program from here, so that a loss is traced once.
    """

    problem: Problem
    batches: list[Any]
    """Those that are measured, as the problem gives them."""
    rest: Iterator[Any]
    """The pass over the data from there on."""
    tracer: Tracer
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
    training: ShortTraining | None
    skipped: tuple[Skipped, ...]
    run_s: float
    train_s: float


@dataclass(frozen=True)
class Run:
    """What was prepared, and what each of its batches measured."""

    prepared: Prepared
    samples: list[Sample]


def prepare(problem: Problem, *, batches: int = 1, progress: Progress) -> Prepared:
    """Draw `batches` batches, trace the loss at the first, compile the flow pass for all of its shape."""
    rest = problem.batches()
    with user_code("drawing batches"):
        drawn = list(itertools.islice(rest, batches))
    start = time.perf_counter()
    progress("tracing")
    tracer = Tracer(problem)
    program = tracer.trace(drawn[0])
    traced = time.perf_counter()
    used = [batch for batch in drawn if _shapes(batch) == _shapes(drawn[0])]
    inputs = [tracer.inputs(batch, draw) for draw, batch in enumerate(used)]
    hazards = find_hazards(program, drawn[0])
    progress("compiling")
    try:
        flow = FlowPass(program, inputs[0], runs=len(inputs))
    except GradscopeError:
        raise
    except Exception as error:  # a mistake of ours, for the user's own program can be differentiated
        reason = f"gradscope itself failed to measure them, please report it ({headline(error)})"
        program, hazards = program.without_taps(reason), ()
        flow = FlowPass(program, inputs[0], runs=len(inputs))
    return Prepared(
        problem,
        used,
        rest,
        tracer,
        inputs,
        program,
        hazards,
        flow,
        notes=_notes(problem, len(drawn), batches),
        skipped=tuple(_skipped(problem, len(drawn), len(used), batches)),
        timing=Timing(
            0.0,
            traced - start + flow.compiled.trace_s,
            flow.compiled.compile_s,
            0.0,
            *flow.compiled.blocks,
        ),
    )


def after_steps(prepared: Prepared, steps: int, progress: Progress) -> Prepared:
    """The same problem where so many steps of its optimizer (or of Adam) lead."""
    progress(f"training {steps} steps")
    start = time.perf_counter()
    pieces = prepared.problem, prepared.tracer, prepared.program, prepared.flow, prepared.inputs[0]
    try:
        run = trained_from(*pieces, (prepared.batches, prepared.rest), steps)
    except TooLarge as reason:
        raise _no_steps(f"{str(reason).capitalize()}.") from None
    except Exception as error:  # an optimizer may ask for anything
        raise _no_steps(f"{_first_line(error)}.") from error
    name = StepRule.of(prepared.problem, prepared.tracer, 0).name
    note = (
        f"Measured after {steps} steps of {name}: the loss of the first batch went from {run.losses[0]:.3g} "
    )
    return replace(
        prepared,
        problem=prepared.problem.in_training(run.state),
        inputs=[replace(each, weights=run.weights) for each in prepared.inputs],
        notes=(*prepared.notes, f"{note}to {run.end:.3g}."),
        timing=prepared.timing.plus(Timing(train_s=time.perf_counter() - start)),
    )


def _no_steps(why: str) -> GradscopeError:
    return GradscopeError(
        "The steps of --after-steps could not be taken.",
        why=why,
        fix="Without --after-steps the gradients are measured where the params are.",
        slug="unfit-optimizer",
    )


def _first_line(error: Exception) -> str:
    """Of what the optimizer raised, which an error of ours may be wrapped around."""
    inner = error.__cause__ if isinstance(error, GradscopeError) and error.__cause__ else error
    return headline(inner)


def measure(prepared: Prepared, steps: int | None, progress: Progress) -> Measured:
    """The flow pass over all batches, a short training, and what the numbers of the pass call for: nothing,
    for a healthy problem."""
    program, count, samples = prepared.program, len(prepared.inputs), []
    running = time.perf_counter()
    for number, each in enumerate(prepared.inputs, 1):
        progress(f"measuring batch {number} of {count}" if count > 1 else "measuring")
        samples.append(prepared.flow(each))
    run_s = time.perf_counter() - running
    training = time.perf_counter()
    trained, untrained = _trained(Run(prepared, samples), steps, progress)
    train_s = time.perf_counter() - training
    taken = _taken(Run(prepared, samples), trained, progress)
    hazards = measured_hazards(program, prepared.hazards, samples)
    return Measured(
        measurement=replace(
            measurement(taken),
            hazards=hazards,
            objective=objective_of(program, prepared.batches[0], prepared.inputs),
            custom_rules=count_rules(program.body, len(prepared.inputs[0].weights)),
            terms=loss_terms(program),
        ),
        training=None if trained is None else trained.record,
        skipped=(*prepared.skipped, *untrained, *taken.unfound),
        run_s=run_s,
        train_s=train_s,
    )


def _trained(run: Run, steps: int | None, progress: Progress) -> tuple[Trained | None, tuple[Skipped, ...]]:
    """Nothing where there is no finite loss to begin with."""
    prepared = run.prepared
    if steps == 0 or _worst(run.samples) is not None:
        return None, ()
    progress("training a few steps")
    try:
        return short_training(
            prepared.problem,
            prepared.tracer,
            prepared.program,
            prepared.flow,
            prepared.inputs[0],
            (prepared.batches, prepared.rest),
            steps,
        ), ()
    except TooLarge as reason:
        return None, (Skipped("training", str(reason)),)
    except Exception as error:  # an optimizer may ask for anything: a value function, a Hessian, labels
        return None, (Skipped("training", f"the optimizer could not make a step ({_first_line(error)})"),)


def _taken(run: Run, trained: Trained | None, progress: Progress) -> Taken:
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
        updates=None if trained is None or not trained.record.own else trained.updates,
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

"""A prepared problem is trained for many steps, watched, and judged."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.measure.leaf_statistics import weight_statistics
from gradscope.measure.units import unit_activity
from gradscope.recording.file import Recording
from gradscope.recording.thinning import Thinned
from gradscope.records import (
    Ending,
    Finding,
    Heading,
    History,
    LossRecord,
    Measurement,
    Report,
    Skipped,
    StepRecord,
    Timing,
    ValidationRecord,
)
from gradscope.records.options import MonitorOptions
from gradscope.records.progress import Progress
from gradscope.rules import Parts, judge, judging, left_out
from gradscope.runs.common import tool
from gradscope.runs.excerpts import excerpts
from gradscope.runs.measuring import Measured, measure
from gradscope.runs.measuring_later import flow_at
from gradscope.runs.preparing import Prepared, prepare
from gradscope.runs.stepping import first_line
from gradscope.trace.program import Inputs, Tracer
from gradscope.trace.stream import BatchStream, form_of
from gradscope.training.layer_numbers import LayerNumbers
from gradscope.training.monitored import MonitoredTraining, TrainingEnd
from gradscope.training.optimizer import StepRule

FIRST_STEPS = 3
"""Taken on trial before the training, for what is exact of an optimizer: which way its updates go, whether
they arrive, what it never moves."""
MOST_MEASURED = 1000
"""Steps whose layers are measured, where `every` is not given."""
VALIDATIONS = 20

Watch = Callable[[Thinned], None]
"""Called after each record with the history so far."""


@dataclass(frozen=True)
class _Trained:
    history: History
    end: TrainingEnd
    skipped: tuple[Skipped, ...]


def monitor_problem(
    problem: Problem,
    options: MonitorOptions,
    *,
    target: str,
    load_s: float = 0.0,
    watch: Watch | None = None,
    progress: Progress,
) -> Report:
    """Train a problem that is at hand, and judge what was seen. Raises `GradscopeError` where it cannot be
    trained; a loss that is not finite before the first step is a finding, with where it was born."""
    prepared = prepare(problem.for_training(), progress=progress)
    begun = measure(prepared, FIRST_STEPS, progress)
    timing = Timing(load_s, run_s=begun.run_s).plus(prepared.timing)
    flow, history, skipped, notes = begun.measurement, None, begun.skipped, prepared.notes
    later: tuple[Finding, ...] = ()
    start = time.perf_counter()
    if not math.isfinite(flow.loss):
        reason = "the loss is not finite before the first step"
        skipped = (*skipped, Skipped("training", reason))
        findings, unjudged = _judged(Parts(flow), options)
    else:
        trained = _trained(prepared, begun, options, target, watch, progress)
        history, end = trained.history, trained.end
        skipped = (*skipped, *trained.skipped)
        progress("measuring after the steps")
        if end.broken is not None:
            flow = _where_it_broke(prepared, end.broken, progress)
            notes = (*notes, f"The layers are those of step {end.steps - 1:,}, where the training ended.")
        flow = replace(flow, diverged=begun.measurement.diverged or end.diverged)
        findings, unjudged = _judged(Parts(flow, training=begun.training, history=history), options)
        if end.broken is not None:
            findings = tuple(_at_step(finding, history) for finding in findings)
        if end.ending in (Ending.COMPLETE, Ending.DATA_ENDED):
            later = _new_at_the_end(_at_the_end(prepared, end, progress), findings, history, options)
    parts = Parts(flow, training=begun.training, history=history)
    found = tuple(sorted((*findings, *later), key=lambda finding: finding.severity.rank))
    return Report(
        target,
        tool(),
        flow=flow,
        history=history,
        findings=found,
        notes=notes,
        skipped=(*skipped, *unjudged),
        timing=timing.plus(Timing(train_s=time.perf_counter() - start)),
        seeds=(problem.seed,),
        rules=judging(parts, options.select, options.ignore, unjudged),
        left_out=left_out(parts, options.select, options.ignore),
        excerpts=excerpts(found),
    )


def _trained(
    prepared: Prepared,
    begun: Measured,
    options: MonitorOptions,
    target: str,
    watch: Watch | None,
    progress: Progress,
) -> _Trained:
    """`begun` is what was measured at the start."""
    problem, tracer, weights = prepared.problem, prepared.tracer, prepared.inputs[0].weights
    program = prepared.program
    rule = StepRule.of(problem, tracer)
    numbers = LayerNumbers(program, weight_statistics(program, weights), begun.samples[0])
    every = options.every or max(1, -(-options.steps // MOST_MEASURED))
    made = tool()
    heading = Heading(
        target,
        rule.name,
        rule.own,
        numbers.about,
        asked=options.steps,
        every=every,
        gradscope=made.gradscope,
        jax=made.jax,
        backend=made.backend,
    )
    thinned = Thinned(heading)
    with ExitStack() as stack:
        writing = stack.enter_context(_Writing(options.record, heading))

        def tell(record: StepRecord | LossRecord | ValidationRecord) -> None:
            _add(thinned, record)
            writing.add(record)
            if watch is not None:
                watch(thinned)

        progress("compiling a step")
        try:
            training = MonitoredTraining(
                program,
                rule,
                numbers,
                weights,
                tell,
                every=every,
                validation=_validation(problem, tracer, prepared),
                validate_every=options.validate_every or max(1, options.steps // VALIDATIONS),
            )
            opening = itertools.chain(begun.drawn, prepared.rest)
            stream = BatchStream(problem, tracer, form_of(begun.drawn[0]), opening, repeat=options.repeat)
            end = training.run(stream, options.steps)
        except GradscopeError:
            raise
        except Exception as error:  # an optimizer may ask for anything
            raise GradscopeError(
                "The problem could not be trained.",
                why=f"{first_line(error)}.",
                fix="Try `optax.sgd(0.01)` in its place: if that trains, look at how the optimizer is made.",
                slug="unfit-optimizer",
            ) from error
        thinned.batches_per_pass = stream.batches_per_pass
        thinned.steps = end.steps
        writing.end(end, stream.batches_per_pass)
    return _Trained(thinned.history(end.ending), end, (*stream.passed_over(), *writing.failed))


def _add(taker: Thinned | Recording, record: StepRecord | LossRecord | ValidationRecord) -> None:
    match record:
        case StepRecord():
            taker.add(record)
        case LossRecord():
            taker.add_losses(record)
        case _:
            taker.add_validation(record)


class _Writing:
    """The recording, where one was asked for: a disk that fills up ends it, and not the training."""

    def __init__(self, path: str | None, heading: Heading) -> None:
        self._recording = None if path is None else Recording(path, heading)
        self.failed: list[Skipped] = []

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, *error: object) -> None:
        if self._recording is not None:
            self._recording.close()

    def add(self, record: StepRecord | LossRecord | ValidationRecord) -> None:
        self._try(lambda recording: _add(recording, record))

    def end(self, end: TrainingEnd, batches_per_pass: int | None) -> None:
        self._try(lambda recording: recording.end(end.ending, end.steps, batches_per_pass))

    def _try(self, write: Callable[[Recording], None]) -> None:
        if self._recording is None or self.failed:
            return
        try:
            write(self._recording)
        except GradscopeError as error:
            self.failed.append(Skipped("the recording", f"{error.what} {error.why}".rstrip(".")))


def _validation(problem: Problem, tracer: Tracer, prepared: Prepared) -> tuple[Any, list[Any]] | None:
    """The loss at the shapes of the validation batch, and its arguments."""
    batch = problem.validation_batch
    if batch is None:
        return None
    same = form_of(batch) == form_of(prepared.batches[0])
    program = prepared.program if same else tracer.trace(batch)
    return program, tracer.inputs(batch, 0, problem.key()).others


def _at_the_end(prepared: Prepared, end: TrainingEnd, progress: Progress) -> Measurement:
    """The flow pass on the first batch, and units before and after the steps; with the origin of what is not
    finite there."""
    found = flow_at(prepared, end.weights)
    units = unit_activity(prepared.program, found.layers, prepared.inputs, end.weights)
    found = replace(found, units=tuple(units))
    inputs = replace(prepared.inputs[0], weights=end.weights)
    batch = prepared.batches[0]
    return _where_it_broke(prepared, (batch, inputs), progress) if found.nonfinite_values else found


def _where_it_broke(prepared: Prepared, broken: tuple[Any, Inputs], progress: Progress) -> Measurement:
    """The flow pass, and the origin of what is not finite, at one step."""
    batch, inputs = broken
    return measure(replace(prepared, batches=[batch], inputs=[inputs]), 0, progress).measurement


def _at_step(finding: Finding, history: History) -> Finding:
    """With the step at which the layers were measured, where a rule over steps does not name its own."""
    if "step" in finding.evidence:
        return finding
    when, last, first = "", history.steps - 1, history.nonfinite_since
    if first is not None and first < last:
        when = f" (the loss is not finite since step {first:,})"
    return replace(finding, message=f"At step {last:,}{when}: {finding.message}")


def _judged(parts: Parts, options: MonitorOptions) -> tuple[tuple[Finding, ...], tuple[Skipped, ...]]:
    return judge(parts, select=options.select, ignore=options.ignore, limits=options.limits)


def _new_at_the_end(
    measured: Measurement, before: Iterable[Finding], history: History, options: MonitorOptions
) -> tuple[Finding, ...]:
    """What the gradients look like after the last step, where it is not what they looked like before."""
    known = {(finding.rule, finding.layer) for finding in before}
    judged, _ = _judged(Parts(measured), options)
    if measured.gradient_norm == 0:
        return ()  # The loss is at a minimum, as a hinge loss that is 0: nothing is left to learn.
    when = f"After {history.steps} steps of {history.optimizer}: "
    return tuple(
        replace(finding, message=when + finding.message)
        for finding in judged
        if (finding.rule, finding.layer) not in known
    )

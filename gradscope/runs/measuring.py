"""Runs the passes on a problem, in the order in which one decides about the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gradscope.load.usercode.fault import Looks
from gradscope.measure import nonfinite_counts
from gradscope.measure.attention import attentions_of
from gradscope.measure.cleared import without_input
from gradscope.measure.copies import copied_leaves
from gradscope.measure.experts import routings_of
from gradscope.measure.flow import Begun, Sample
from gradscope.measure.hazards import measured_hazards
from gradscope.measure.idle_recurrences import idle_recurrences
from gradscope.measure.isolated_branches import isolated_branches
from gradscope.measure.leaf_statistics import weight_statistics
from gradscope.measure.leaks.counted_labels import counted_labels
from gradscope.measure.leaks.future import future_leaks
from gradscope.measure.leaks.mixed import mixed_examples
from gradscope.measure.leaks.other_rows import labels_of_others
from gradscope.measure.leaks.padded import padding_leaks
from gradscope.measure.leaks.trial import Trials
from gradscope.measure.lookahead import nonzero_after_steps, zero_leaves
from gradscope.measure.measurement import Taken, measurement
from gradscope.measure.objective import objective_of
from gradscope.measure.rewards import misused_rewards
from gradscope.measure.units import unit_activity
from gradscope.nonfinite.find import find_origin
from gradscope.nonfinite.lost_infinity import find_lost_infinity
from gradscope.records import (
    IdleRecurrence,
    IsolatedBranch,
    LostInfinity,
    Measurement,
    Objective,
    Origin,
    Routing,
    ShortTraining,
    Skipped,
    Structure,
    UnitActivity,
)
from gradscope.records.progress import Progress
from gradscope.runs.looking_closer import looked_closer
from gradscope.runs.measuring_later import measured_at
from gradscope.runs.on_devices import on_devices
from gradscope.runs.preparing import Prepared
from gradscope.runs.stepping import trained
from gradscope.runs.structure import structure_of
from gradscope.trace.loss_terms import loss_terms
from gradscope.trace.program import Inputs, Program
from gradscope.training.rescaled import rescaled_start, suffers
from gradscope.training.short import Trained
from gradscope.verification.rules import count_rules

UNIT_BATCHES = 4
"""Over which units have to be dead."""


@dataclass(frozen=True)
class Measured:
    measurement: Measurement
    training: ShortTraining | None
    skipped: tuple[Skipped, ...]
    run_s: float
    train_s: float
    samples: Sequence[Sample]
    """What each batch measured."""
    drawn: Sequence[Any]
    """The batches that were drawn so far, those of the short training among them."""
    trained: Trained | None = None
    """The short training, for what is tried after it."""
    later: Callable[[], Measurement] | None = None
    """The flow pass once more, after the last step of the short training; where the first one met gradients
    that are zero and come alive, as below a zero-initialized head."""


@dataclass(frozen=True)
class Run:
    """What was prepared, and what each of its batches measured."""

    prepared: Prepared
    samples: list[Sample]


def measure(
    prepared: Prepared, steps: int | None, progress: Progress, *, overfit_batch: bool = False
) -> Measured:
    """The flow pass over all batches, a short training, and what the numbers of the pass call for: nothing,
    for a healthy problem. `overfit_batch` also trains on the first batch alone."""
    program, count, samples = prepared.program, len(prepared.inputs), list[Sample]()
    begun: Begun | None = None
    running = time.perf_counter()
    for number, each in enumerate(prepared.inputs, 1):
        progress(f"measuring batch {number} of {count}" if count > 1 else "measuring")
        sample, handed_out = prepared.flow.with_gradients(each)
        samples, begun = [*samples, sample], begun if samples else handed_out
    run_s = time.perf_counter() - running
    training = time.perf_counter()
    finite = _worst(samples) is None
    found, untrained = trained(prepared, steps, begun, progress) if finite else (None, ())
    train_s = time.perf_counter() - training
    progress("looking closer at what was measured")
    taken = _taken(Run(prepared, samples), found, progress)
    hazards = measured_hazards(program, prepared.hazards, samples)
    looks = Looks()
    first, branches = prepared.inputs[0], list[IsolatedBranch]()
    if not any(map(nonfinite_counts.harmful, samples)):
        branches = looks.listed("isolated-branch", lambda: isolated_branches(program, prepared.flow, first))
    objective = looks.taken(
        "what the loss makes of the outputs",
        lambda: objective_of(program, prepared.batches[0], prepared.inputs),
        Objective(),
    )
    objective = _with_leaks(objective, prepared, looks) if finite else objective
    measured = replace(measurement(taken), objective=objective)
    units: list[UnitActivity] = []
    record = None if found is None else found.record
    if finite:
        units = looks.listed("units", lambda: _units(prepared, measured, found))
    if found is not None and suffers(measured, units):
        progress("training from another start")
        record = looks.taken("another start", lambda: _from_another_start(program, found), found.record)
    if found is not None and record is not None:
        record = looked_closer(prepared, measured, found, record, looks, overfit_batch=overfit_batch)
    attentions = looks.listed("attention", lambda: attentions_of(program, prepared.attentions, samples))
    structure = (
        structure_of(prepared, found, samples[0].loss, attentions, looks, progress) if finite else Structure()
    )
    routings = looks.listed("experts", lambda: _routings(prepared, samples, found)) if finite else []
    devices, unread = on_devices(prepared, samples[0].loss if finite else None, looks)
    wakes = any(parameter.nonzero_after_steps for parameter in measured.parameters)
    return Measured(
        measurement=replace(
            measured,
            hazards=hazards,
            structure=structure,
            isolated_branches=tuple(branches),
            units=tuple(units),
            attentions=tuple(attentions) if finite else (),
            routings=tuple(routings),
            custom_rules=count_rules(program.body, len(prepared.inputs[0].weights)),
            terms=tuple(looks.listed("terms of the loss", lambda: loss_terms(program))),
            idle_recurrences=tuple(
                looks.listed("state-not-carried", lambda: _idle_recurrences(prepared, measured))
            ),
            **devices,
            copies=tuple(
                looks.listed("copies among the params", lambda: copied_leaves(program, first.weights))
            ),
        ),
        training=record,
        skipped=tuple(dict.fromkeys((*prepared.skipped, *unread, *untrained, *taken.unfound, *looks.failed))),
        run_s=run_s,
        train_s=train_s,
        samples=samples,
        drawn=prepared.batches if found is None else found.trainer.feed.drawn,
        trained=found,
        later=partial(measured_at, prepared, found.weights) if found is not None and wakes else None,
    )


def _units(prepared: Prepared, measured: Measurement, found: Trained | None) -> list[UnitActivity]:
    """Over several batches where the training has drawn some."""
    program, inputs = prepared.program, _several(prepared, found)
    if found is None:
        return list(unit_activity(program, measured.layers, inputs))
    return list(unit_activity(program, measured.layers, inputs, found.weights, found.gradients))


def _several(prepared: Prepared, found: Trained | None) -> list[Inputs]:
    """The measured batches; where that is one, others that the training has drawn, too."""
    inputs = prepared.inputs
    if found is None or len(inputs) > 1:
        return inputs
    feed = found.trainer.feed
    more = range(1, min(UNIT_BATCHES, len(feed.drawn)))
    return [*inputs, *(feed.at(step, inputs[0].weights) for step in more)]


def _idle_recurrences(prepared: Prepared, measured: Measurement) -> Iterator[IdleRecurrence]:
    return idle_recurrences(prepared.program, prepared.batches[0], bool(without_input(measured)))


def _routings(prepared: Prepared, samples: list[Sample], found: Trained | None) -> Sequence[Routing]:
    if not prepared.routers:
        return ()
    later = None if found is None else found.weights
    batches = _several(prepared, found)
    return routings_of(prepared.program, prepared.routers, samples, prepared.flow, batches, later)


def _from_another_start(program: Program, found: Trained) -> ShortTraining:
    return replace(found.record, rescaled=rescaled_start(found.trainer, program, found.record.steps))


def _with_leaks(objective: Objective, prepared: Prepared, looks: Looks) -> Objective:
    """What outputs depend on that they must not see, found by changing it."""
    trials = Trials(prepared.program, prepared.batches[0], prepared.inputs[0])
    later = looks.listed("future-leak", lambda: future_leaks(trials))
    mixed = looks.listed("batch-leak", lambda: mixed_examples(trials))
    padded = looks.listed("padding-leak", lambda: padding_leaks(trials))
    others = looks.listed("labels of other examples", lambda: labels_of_others(trials))
    counted = looks.listed("labels that count", lambda: counted_labels(trials))
    loss, batch = prepared.problem.loss_fn, prepared.batches[0]
    rewards = looks.listed("rewards", lambda: misused_rewards(prepared.program, loss, batch, prepared.inputs))
    return replace(
        objective,
        misdirected=(*objective.misdirected, *others, *counted, *rewards),
        future_leaks=tuple(later),
        batch_leaks=(*objective.batch_leaks, *mixed),
        padding_leaks=tuple(padded),
    )


def _taken(run: Run, training: Trained | None, progress: Progress) -> Taken:
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
        updates=None if training is None else training.updates,
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

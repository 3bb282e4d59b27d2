"""What is looked at behind a short training, with the numbers of the flow pass at hand."""

from __future__ import annotations

from dataclasses import replace

from gradscope.load.usercode.fault import Looks
from gradscope.records import Measurement, ShortTraining, Skipped
from gradscope.runs.measuring_later import layers_after
from gradscope.runs.preparing import Prepared
from gradscope.training.answers import constant_outputs, label_shares
from gradscope.training.categories import numbered_categories
from gradscope.training.dropped import dropped_values
from gradscope.training.empty_codes import empty_code
from gradscope.training.held_matrices import held_matrices
from gradscope.training.leaked import leaked_target
from gradscope.training.let_through import let_through
from gradscope.training.moments import decay_rates
from gradscope.training.offsets import tried_offsets
from gradscope.training.one_batch import one_batch
from gradscope.training.outweighed import outweighed_terms
from gradscope.training.own_step import own_step
from gradscope.training.parameter_groups import with_groups
from gradscope.training.partly_dead import partly_dead
from gradscope.training.penalties import unpenalized
from gradscope.training.repeated_noise import repeated_noise
from gradscope.training.rounded import rounded_inputs
from gradscope.training.scores import tried_scores
from gradscope.training.short import Trained
from gradscope.training.skips import tried_skips
from gradscope.training.tasks import task_gradients


def looked_closer(
    prepared: Prepared,
    measured: Measurement,
    found: Trained,
    record: ShortTraining,
    looks: Looks,
    *,
    overfit_batch: bool,
) -> ShortTraining:
    """The record, with what the optimizer does with which leaves, units that are not used, what penalties
    and other terms without data cost, the layers after the steps, the first batch by heart, the frequencies
    of the labels, targets among the inputs, and last layers with one output for all."""
    program, trainer, layers = prepared.program, found.trainer, measured.layers
    first, drawn = prepared.inputs[0], trainer.feed.drawn
    last = found.weights, found.gradients
    record = looks.taken(
        "groups of the optimizer", lambda: with_groups(record, trainer, program, last), record
    )
    dead = looks.listed(
        "units without a gradient",
        lambda: partly_dead(program, layers, trainer, found.gradients, record.steps),
    )
    penalized = looks.taken(
        "penalties on the weights",
        lambda: unpenalized(program, trainer, record.steps, record.batches),
        None,
    )
    outweighed = looks.taken(
        "terms of the loss without data",
        lambda: outweighed_terms(program, trainer, found.weights, record.steps, record.batches),
        None,
    )
    tasks = looks.taken(
        "gradients of tasks", lambda: task_gradients(program, trainer, record.steps, record.batches), None
    )
    empty = looks.taken(
        "penalties on outputs",
        lambda: empty_code(program, trainer, record.steps, record.batches),
        None,
    )
    later = looks.listed("layers after the steps", lambda: layers_after(prepared, found.weights, found.after))
    alone = looks.taken("one batch", lambda: one_batch(trainer, record, asked=overfit_batch), None)
    shares = looks.listed("frequencies of labels", lambda: label_shares(program, first, drawn))
    outputs = looks.listed(
        "outputs that are alike",
        lambda: constant_outputs(program, layers, found.gradients, drawn[0], (first, found.weights)),
    )
    noise = looks.listed(
        "repeated-noise", lambda: repeated_noise(program, prepared.tracer, trainer, record.steps)
    )
    dropped = looks.listed("dropout-too-high", lambda: dropped_values(program, trainer, record.steps))
    rates = looks.taken("mismatched-betas", lambda: decay_rates(trainer, record.steps, record.batches), None)
    categories = looks.listed("categories-as-numbers", lambda: numbered_categories(program, first, drawn))
    held = looks.taken("matrices that are held", lambda: held_matrices(trainer, record), None)
    leaked = looks.taken("leaked-target", lambda: leaked_target(program, trainer, record.steps), None)
    rounded = looks.listed("rounded-input", lambda: rounded_inputs(program, trainer, record.steps))
    passed = looks.taken(
        "stop_gradient", lambda: let_through(prepared.problem, program, trainer, record, first), None
    )
    scores = looks.taken(
        "scores of the classes", lambda: tried_scores(program, trainer, record, measured, first), None
    )
    offsets = looks.listed("missing-bias", lambda: tried_offsets(program, trainer, record, first))
    step = looks.taken("train_step", lambda: own_step(prepared.problem, program, found, record), None)
    if isinstance(step, Skipped):
        looks.failed.append(step)
    skips = looks.taken("missing-residual", lambda: tried_skips(program, trainer, record), None)
    return replace(
        record,
        partly_dead=tuple(dead),
        unpenalized=penalized,
        outweighed=outweighed,
        tasks=tasks,
        empty_code=empty,
        after=tuple(later),
        one_batch=alone,
        shares=tuple(shares),
        outputs=tuple(outputs),
        repeated_noise=tuple(noise),
        decay_rates=rates,
        categories=tuple(categories),
        held_matrices=held,
        leaked=leaked,
        skips=skips,
        own_step=None if isinstance(step, Skipped) else step,
        let_through=passed,
        scores=scores,
        offsets=tuple(offsets),
        rounded=tuple(rounded),
        dropouts=tuple(dropped),
    )

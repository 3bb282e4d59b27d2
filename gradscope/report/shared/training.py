"""The short training in one sentence, the same in every format, and its loss as a row of heights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradscope.records import Finding, OwnTrainStep, Severity, ShortTraining
from gradscope.report.shared import units
from gradscope.report.shared.bars import sparkline_between
from gradscope.report.shared.glyphs import Glyphs

WIDEST = 40
TELLING = 0.05
"""Share of the loss by which a training has to lower it to say something of the user's own."""


def sentence(training: ShortTraining, findings: Sequence[Finding] = ()) -> str:
    """`20 steps of your optimizer lower the loss of the first batch from 2.30 to 0.910.`

    What lies outside of the file is named only where its findings say nothing against it.
    """
    blamed = any(finding.severity is not Severity.NOTE for finding in findings)
    who = (
        training.optimizer if training.own else f"{training.optimizer}, for want of an optimizer in the file,"
    )
    of = " of the first batch" if training.batches > 1 else ""
    steps, one = units.counted(training.steps, "step"), training.steps == 1
    start, end = units.cell(training.start), units.cell(training.end)
    if start == end:
        text = f"{steps} of {who} {'leaves' if one else 'leave'} the loss{of} at {end}."
    elif training.end < training.start:
        text = f"{steps} of {who} {'lowers' if one else 'lower'} the loss{of} from {start} to {end}."
    else:
        text = f"{steps} of {who} {'takes' if one else 'take'} the loss{of} from {start} to {end}."
    step = training.own_step
    if training.one_batch is not None:
        alone = training.one_batch
        what = "that batch" if of else "it"
        text += f" {units.counted(alone.steps, 'step')} on {what} alone end at {units.cell(alone.end)}."
    if step is not None:
        text += f" {_of_the_file(step)}"
    if not blamed and training.own and _falls(step or training):
        text += " If your run does not learn, look at its loop."
    return text


def _falls(training: ShortTraining | OwnTrainStep) -> bool:
    return training.start - training.end > TELLING * abs(training.start)


def _of_the_file(step: OwnTrainStep) -> str:
    """`20 steps of train_step in your file take it from 2.30 to 0.910.`"""
    of = "it" if step.batches == 1 else f"the mean loss of {step.batches} batches"
    if not step.returned:
        return f"`{step.name}` in your file was traced; it gives back no parameters."
    start, end = units.cell(step.start), units.cell(step.end)
    return (
        f"{units.counted(step.steps, 'step')} of `{step.name}` in your file take {of} from {start} to {end}."
    )


def curve(training: ShortTraining, glyphs: Glyphs, width: int = WIDEST) -> str:
    """The loss of each step, on a linear scale."""
    values = [*training.losses, training.end]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    return sparkline_between(values, min(finite), max(finite), width, glyphs)

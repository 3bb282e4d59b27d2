"""The short training in one sentence, the same in every format, and its loss as a row of heights."""

from __future__ import annotations

import math

from gradscope.records import ShortTraining
from gradscope.report.shared import units
from gradscope.report.shared.bars import sparkline_between
from gradscope.report.shared.glyphs import Glyphs

WIDEST = 40
TELLING = 0.05
"""Share of the loss by which a training has to lower it to say something of the user's own."""


def sentence(training: ShortTraining) -> str:
    """`20 steps of your optimizer lower the loss of the first batch from 2.30 to 0.910.`"""
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
    if training.own and training.fall > TELLING * abs(training.start):
        text += " If your run does not learn, look at its loop."
    if training.one_batch is not None:
        alone = training.one_batch
        what = "that batch" if of else "it"
        text += f" {units.counted(alone.steps, 'step')} on {what} alone end at {units.cell(alone.end)}."
    return text


def curve(training: ShortTraining, glyphs: Glyphs, width: int = WIDEST) -> str:
    """The loss of each step, on a linear scale."""
    values = [*training.losses, training.end]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    return sparkline_between(values, min(finite), max(finite), width, glyphs)

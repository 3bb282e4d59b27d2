"""Targets that a model gets as a part of its input."""

from __future__ import annotations

import math

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class LeakedTarget:
    """A target that stands in the input of the model, bit for bit."""

    source: Source | None
    """Where an output is compared with it."""
    inputs: str
    """The arrays of the batch that come in; empty where the loss closes over them."""
    targets: str
    columns: tuple[int, ...] = ()
    """Of the input, along its last axis: one that says the target of its row, or the one-hot rows of a class;
    empty of tokens."""
    last: bool = False
    """In the last step of each window alone."""
    position: int = 0
    """Of tokens: one that was replaced, of `length`, and the output there changed by `change`; no earlier
    output did."""
    length: int = 0
    change: float = math.nan
    steps: int = 0
    """Of the training after which the columns were exchanged among the rows of the first batch."""
    start: float = math.nan
    end: float = math.nan
    exchanged: float = math.nan
    """Loss of that batch: before the steps, after them, and after them with the columns exchanged."""
    elsewhere: float = math.nan
    """Largest absolute rank correlation of anything else in the input with the target, over the rows of all
    batches, in [0, 1]."""
    by_chance: float = math.nan
    """The largest that it has with shuffled targets."""

"""What the targets of the batches ask for, and outputs that are the same for all rows."""

from __future__ import annotations

from gradscope.records.record import record


@record
class LabelShare:
    """How often the most frequent class occurs among the labels: one class for each row."""

    name: str
    batches: int
    rows: int
    """In all of them."""
    classes: int
    value: float
    """Of the most frequent one."""
    share: float
    """Its part of all rows, in [0, 1]."""
    entropy: float
    """Of the frequencies, in nats: the smallest cross-entropy of an answer that is the same for all rows."""


@record
class ConstantOutput:
    """How unlike the rows of the first batch are in the output of a last layer, whose targets differ."""

    layer: str
    rows: int
    before: float
    """rms of what is left of the elements without their mean over the rows, over the rms of the output."""
    after: float
    """The same after the short training."""
    deviation: float
    """That rms itself, after the training."""
    asked: float
    """Standard deviation of the targets over the rows; 1 for classes."""

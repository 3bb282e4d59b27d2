"""Terms of the loss whose gradient goes where no learning comes of it."""

from __future__ import annotations

from enum import StrEnum

from gradscope.records.common import Source
from gradscope.records.record import record


class Misdirection(StrEnum):
    TARGET = "target"
    """A target is computed from the network's own values, and a gradient flows through it."""
    BASELINE = "baseline"
    """What weighs log-probabilities holds the critic's values, and a gradient flows into them."""
    AVERAGED = "averaged"
    """A value is reduced over an axis before it meets the numbers along it, one for each element."""
    SUMMED = "summed"
    """A sum over rows is added to a value of each row."""
    EVERY_CHOICE = "every-choice"
    """All log-probabilities of a row are weighed alike."""
    OFFSET = "offset"
    """What is not cut off is only added to the rest."""
    ONLY_FILLERS = "only-fillers"
    """Of the labels only those count that fill up sequences."""
    FILLERS = "fillers"
    """Most labels that count fill up sequences."""
    NEGATIVE = "negative"
    """Labels below 0 count, as classes from the end."""
    OTHER_ROWS = "other-rows"
    """Predictions meet the labels of other examples."""
    CLIP = "clip"
    """Of a policy's gain with and without clipping the larger one counts."""
    ENTROPY = "entropy"
    """The entropy of a policy is minimized."""


@record
class MisdirectedCredit:
    kind: Misdirection
    source: Source | None
    layers: tuple[str, ...]
    """Next before the value that the gradient goes to."""
    count: int = 0
    """Elements along the axis, rows, or labels."""
    share: float | None = None
    """Of all labels, in [0, 1]."""
    discount: float | None = None
    """Of a target: the number that multiplies the network's own value, where the program writes one."""

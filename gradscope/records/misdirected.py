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
    UNENDED = "unended"
    """A value is drawn to a reward and a part of the next value in every row, and nothing reads the array of
    the batch that is called the ends of episodes."""
    PAST = "past"
    """Log-probabilities are weighed by sums of the rewards before them."""
    DESCENDED = "descended"
    """The loss grows with log-probabilities times what is called a reward, a return or an advantage."""


@record
class MisdirectedCredit:
    kind: Misdirection
    source: Source | None
    layers: tuple[str, ...]
    """Next before the value that the gradient goes to."""
    count: int = 0
    """Elements along the axis, rows, labels, ends of episodes, or steps."""
    share: float | None = None
    """Of all labels, in [0, 1]."""
    discount: float | None = None
    """Of a target: the number that multiplies the network's own value, where the program writes one."""
    name: str = ""
    """What an array is called in the batch or in the file, where that tells what it is."""

"""Numbers of the batch that a cast to a shorter type makes equal."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class RoundedTrial:
    """The training as it is, and with what parameters meet computed without the casts; mean losses of the
    batches, each with what it was trained with."""

    steps: int
    start: float
    end: float
    start_exact: float
    end_exact: float


@record
class RoundedInput:
    """A cast after which numbers are equal that were not, and what is made of them is far from exact."""

    name: str
    """Of the array of the batch; empty where it is made of numbers that the program writes."""
    source: Source | None
    """Of the cast."""
    dtype: str
    """After it."""
    before: int
    """Different numbers, in all batches."""
    after: int
    error: float
    """Of what parameters meet: rms of the difference from the same in float64, over its standard deviation,
    of the worst feature; of integers the share that is another one."""
    trial: RoundedTrial | None = None
    """Of all casts that are told, together; `None` where too few steps could be taken."""

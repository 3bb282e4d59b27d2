"""Random numbers inside of a loss, and trainings without what was found of them."""

from __future__ import annotations

import math

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class RepeatedNoiseTrial:
    """Two trainings from the same start: with the noise as it is, the same at each step, and with new noise.

    Losses are means over the batches and over noise that neither of them has seen, but for `seen`.
    """

    steps: int
    start: float
    seen: float
    """After the steps as they are, with the noise that they have seen."""
    end: float
    """The same with noise that they have not seen."""
    end_renewed: float
    """After the steps with new noise."""
    error: float
    """Standard error of the ends, over draws of the noise."""


@record
class RepeatedNoise:
    """Random numbers for each example whose key is a constant of the program."""

    key: Source | None
    """Where the key is made of a number; `None` where the loss closes over it."""
    source: Source | None
    """Of the draw."""
    shape: tuple[int, ...]
    layer: str | None
    """The first layer whose output depends on it; `None` where it meets the loss behind all layers."""
    trial: RepeatedNoiseTrial | None = None
    """Of all such draws together; `None` where too few steps could be taken."""


@record
class DropoutTrial:
    """Two trainings from the same start, with dropout as it is and without it, and the loss without it: the
    mean over the batches, each value times the mean of its mask."""

    steps: int
    start: float
    end_with: float
    """After the steps as they are."""
    end_without: float
    at_zero: float
    """With weights of 0."""

    @property
    def lost(self) -> float:
        """What dropout costs, over what the training without it has lowered the loss by: from the start, or
        from weights of 0, which a bad start may be far above. NaN where it has not; infinite where a loss
        is not finite."""
        above = [each for each in (self.start, self.at_zero) if each > self.end_without]
        if not above:
            return math.nan
        cost = self.end_with - self.end_without
        return cost / (min(above) - self.end_without) if math.isfinite(cost) else math.inf


@record
class Dropout:
    """A random mask that lets through some elements of a layer's output."""

    source: Source | None
    layer: str | None
    """Whose output it is."""
    kept: int
    """Elements that it lets through, over several draws."""
    total: int
    last: bool
    """No layer stands between it and the loss."""
    trial: DropoutTrial | None = None
    """Without all that are told, together; `None` where too few steps could be taken."""

    @property
    def share(self) -> float:
        return self.kept / self.total

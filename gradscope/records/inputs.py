"""How the loss depends on the inputs of a batch, as `check --inputs` measures it."""

from __future__ import annotations

import math

from gradscope.records.record import record

SMALLEST_WHOLE = 90
"""Of numbers that stand for missing ones: the log of an epsilon may be whole, too."""


@record
class FeatureShare:
    index: str
    """Within a row: `[3]`, `[0][12]`."""
    share: float
    """Of the squared gradient."""


@record
class InputGradient:
    """The gradient of the loss with respect to one array of the batch, feature by feature.

    A feature is one element of a row: of a picture, one pixel of one channel.
    """

    name: str
    rows: int
    """In all batches that were looked at."""
    features: int
    rms: float
    """Of the gradient, over rows and features."""
    strongest: tuple[FeatureShare, ...]
    """The features with the largest gradient."""
    ignored: tuple[str, ...]
    """The first few of the features that vary and whose gradient is exactly 0 in every row."""
    ignored_count: int
    constant: int
    """Features that are the same in all rows, whatever their gradient is."""


@record
class AdversarialStep:
    """The loss after a small step of all inputs along the sign of its gradient (Goodfellow et al. 2015)."""

    size: float
    """Of the standard deviation of each array."""
    before: float
    after: float
    random: float
    """After a step of the same size along random signs."""


@record
class NumberedCategories:
    """What the values of one column of whole numbers, which goes in as a number, tell of the target."""

    name: str
    """The array of the batch."""
    column: int | None
    """`None` where it has one alone."""
    target: str
    values: int
    """Different numbers."""
    rows: int
    share: float
    """Of the variance of the target, that between the means of the values."""
    ratio: float
    """Variance of these means over what is expected of them by chance (F): 1 where they say nothing."""
    apart: float
    """Mean square difference of the means of neighbouring numbers over that of any two: 1 where their order
    says nothing, near 0 where the target depends on the number smoothly."""

    @property
    def sure(self) -> float:
        """Standard deviations by which the means vary more than by chance."""
        return (self.ratio - 1) / math.sqrt(2 / (self.values - 1))

    @property
    def rough(self) -> float:
        """Standard deviations by which neighbours are further apart than where the target depends on the
        number smoothly: chance alone then leaves 1 / `ratio`."""
        return (self.apart - 1 / self.ratio) * self.values / math.sqrt(self.values - 2) if self.ratio else 0.0


@record
class FillValue:
    """A number that may stand for missing ones: the same again and again, and far from the rest."""

    feature: int | None
    """The column, from 0; `None` where the array has none."""
    value: float
    share: float
    """Of the numbers of the column."""
    lowest: float
    highest: float
    """Of the others."""
    median: float
    """Of the others."""

    @property
    def distance(self) -> float:
        """From the nearest of the others, over how far these are apart."""
        nearest = max(self.lowest - self.value, self.value - self.highest)
        apart = self.highest - self.lowest
        return nearest / apart if apart > 0 else math.inf

    @property
    def is_whole(self) -> bool:
        """As -9999 and 65535 are, and no log of an epsilon is."""
        return abs(self.value) >= SMALLEST_WHOLE and float(self.value).is_integer()

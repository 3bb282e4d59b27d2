"""How the loss depends on the inputs of a batch, as `check --inputs` measures it."""

from __future__ import annotations

from gradscope.records.record import record


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

"""What another precision would do to a program: which gradients survive it, what falls out of its range."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class LayerInPrecision:
    """One layer of the program as it is, and with every value rounded."""

    layer: str
    cosine: float | None
    """Of its gradient and that of the rounded program; `None` where either is 0 or not finite."""
    value_underflow: float | None
    value_overflow: float | None
    """Of the elements of its output that are not 0, the share that the format rounds to 0, and that it cannot
    hold; `None` of a format with scales of its own, and where no output is measured."""
    delta_underflow: float | None
    delta_overflow: float | None
    """The same of δ."""
    cosine_scaled: float | None = None
    """With the loss scale; `None` where none was tried."""
    cosine_up: float | None = None
    """Of `mxfp8`: with the scales of its blocks rounded up, so that nothing is clamped; the specification
    rounds them down."""


@record
class KeptWide:
    """A trial: some operations, and δ behind them, as they are, and everything else rounded."""

    kind: str
    """`products` of matrices, `sums`, `functions` (exponentials, roots, quotients), or `others`."""
    source: Source | None
    """Those at this line; `None` for all of the kind."""
    cosine: float
    """The lowest of a layer; -1 where one has none."""


@record
class NarrowSum:
    """A sum that the program itself adds up in a small format."""

    op: str
    """`reduce_sum` or `cumsum`."""
    dtype: str
    length: int
    """Numbers that are added up."""
    source: Source | None


@record
class Precision:
    """The first batch once as it is, and once with every result, and every cotangent, rounded to a format."""

    format: str
    """`bf16`, `f16`, `fp8` or `mxfp8`."""
    loss: float
    rounded_loss: float
    cosine: float | None
    """Of the whole gradient and that of the rounded program; `None` where either is 0 or not finite."""
    layers: tuple[LayerInPrecision, ...]
    """In forward order."""
    scale: float | None = None
    """A power of two that the loss was multiplied by, so that the largest δ stays in range; tried where δ
    falls below it."""
    cosine_scaled: float | None = None
    """With it."""
    cosine_up: float | None = None
    """As that of the layers."""
    kept: tuple[KeptWide, ...] = ()
    """What was kept as it is, where the cosine of a layer is below 0.99: each kind, then lines of the best
    kind."""
    kept_before: float | None = None
    """The lowest cosine of a layer with nothing kept: with the loss scale, or with scales rounded up, where
    these are there."""

    narrow_sums: tuple[NarrowSum, ...] = ()
    """Of 16 numbers or more, in the order of the program."""

    @property
    def best_kind(self) -> KeptWide | None:
        """The trial of a whole kind that brings most back."""
        return max((each for each in self.kept if each.source is None), key=_cosine_of, default=None)

    @property
    def best_line(self) -> KeptWide | None:
        """The trial of one line that does."""
        return max((each for each in self.kept if each.source is not None), key=_cosine_of, default=None)


def _cosine_of(trial: KeptWide) -> float:
    return trial.cosine

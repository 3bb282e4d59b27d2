"""What another precision would do to a program: which gradients survive it, what falls out of its range."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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

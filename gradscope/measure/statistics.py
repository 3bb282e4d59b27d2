"""From sums of squares to rms and norm, without overflow and whatever the gain they were taken at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Statistics of one value at every step of the loops around it: one entry for each of them."""

    root: Floats
    """Square root of the sum of squares over the value's elements."""
    largest: Floats
    counts: Floats
    """Elements of the value; 0 at steps where its branch was not taken."""

    @staticmethod
    def read(squares: Any, top: Any, gain: Any, counts: Any) -> Moments:
        """From the sum of squares at a gain and the largest value, as `trace.tap.stats` gives them."""
        root = np.sqrt(np.asarray(squares, np.float64)) / np.asarray(gain, np.float64)
        counts = np.broadcast_to(np.asarray(counts, np.float64), root.shape)
        return Moments(root, np.asarray(top, np.float64), counts)

    def at(self, where: Any) -> Moments:
        """Those of some of the entries: an index, or a mask."""
        return Moments(*(np.asarray(part[where]) for part in (self.root, self.largest, self.counts)))

    def along(self, axis: int) -> Floats:
        """The norm at each position of `axis`, over all others."""
        others = tuple(i for i in range(self.root.ndim) if i != axis)
        return np.asarray(norm(self.root, others))

    @property
    def norm(self) -> float:
        return float(norm(self.root))

    @property
    def count(self) -> int:
        return round(float(self.counts.sum()))


def norm(values: Floats, axes: tuple[int, ...] | None = None) -> Any:
    """Euclidean norm over `axes` (all by default), scaled by the largest value so that nothing overflows."""
    if values.size == 0:
        return np.float64(0.0)
    top = np.max(np.abs(values), axis=axes, keepdims=True)
    scale = np.where((top > 0) & np.isfinite(top), top, 1.0)
    total = np.sqrt(np.sum((values / scale) ** 2, axis=axes, keepdims=True)) * scale
    return np.squeeze(total, axis=axes if axes is not None else tuple(range(values.ndim)))


def rms(parts: list[Moments]) -> float:
    """Root mean square over the elements of all parts."""
    count = sum(part.count for part in parts)
    if not count:
        return 0.0
    return float(norm(np.array([part.norm for part in parts])) / np.sqrt(count))


def largest(parts: list[Moments]) -> float:
    """Largest absolute value; NaN where any is NaN."""
    values = [float(np.max(part.largest)) for part in parts if part.largest.size]
    return float(np.max(values)) if values else 0.0


def range_gain(found: Any, dtype: Any) -> Floats:
    """Powers of two that bring the largest value near 1, where its square would leave the range of dtype.

    Squares are safe while the largest value lies within 1e±15 for float32 (range 1e±38) and within
    1e±140 for float64: a sum of 1e8 squares stays finite, and values 1000 times smaller still count.
    """
    found = np.asarray(found, np.float64)
    limit = 1e140 if np.dtype(dtype) == np.float64 else 1e15
    usable = np.isfinite(found) & (found > 0)
    outside = usable & ((found > limit) | (found < 1 / limit))
    exponent = np.round(np.log2(np.where(usable, found, 1.0)))
    top = 1000 if np.dtype(dtype) == np.float64 else 120
    return np.where(outside, np.exp2(-np.clip(exponent, -top, top)), 1.0)

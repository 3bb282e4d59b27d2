"""From a number to a place on a figure, as a percentage: on a log scale, or between two ends."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gradscope.report.shared import units

LEAST_DECADES = 3
"""A log scale spans at least a factor of 1000, so that a healthy network looks level."""
MARGIN = 4.0
"""[percent] left free at both ends, so that no mark is cut."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """Whole decades; ends as log10."""

    low: int
    high: int

    @property
    def decades(self) -> int:
        return self.high - self.low

    def place(self, value: float | None) -> float | None:
        """`None` for what has no place: not measured, not finite, zero."""
        if value is None or not math.isfinite(value) or value <= 0:
            return None
        return _within((math.log10(value) - self.low) / self.decades)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Places and labels of at most `most` whole decades at round distances."""
        steps = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200)
        step = next(s for s in steps if self.decades // s + 1 <= most or s == steps[-1])
        first = math.ceil(self.low / step) * step
        return [
            (_within((exponent - self.low) / self.decades), power(exponent))
            for exponent in range(first, self.high + 1, step)
        ]

    def widened(self, decades: int) -> Logarithmic:
        """As many decades, the values in the middle: slopes on two such scales compare."""
        missing = max(0, decades - self.decades)
        return Logarithmic(self.low - (missing + 1) // 2, self.high + missing // 2)


@dataclass(frozen=True, slots=True)
class Linear:
    low: float
    high: float

    def place(self, value: float | None) -> float | None:
        """What lies beyond an end is shown at that end."""
        if value is None or not math.isfinite(value):
            return None
        return _within((value - self.low) / (self.high - self.low) if self.high > self.low else 0.5)


def logarithmic(values: Iterable[float | None], least: int = LEAST_DECADES) -> Logarithmic | None:
    """For all positive finite values; `None` where there is none."""
    logs = [math.log10(v) for v in values if v is not None and math.isfinite(v) and v > 0]
    if not logs:
        return None
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return Logarithmic(low, max(high, low + 1)).widened(least)


def step_ticks(first: int, last: int, most: int = 4) -> list[tuple[float, str]]:
    """Places and labels of round steps on an axis from the first step to the last, which has a label too."""
    wide = last - first
    if wide <= 0:
        return [(0.0, units.count(first))]
    sizes = (unit * 10**zeros for zeros in range(len(str(wide))) for unit in (1, 2, 5))
    size = next((each for each in sizes if wide / each <= most), wide)
    steps = [step for step in range(-(-first // size) * size, last, size) if step <= last - 0.6 * size]
    return [(100 * (step - first) / wide, units.count(step)) for step in (*steps, last)]


def power(exponent: int) -> str:
    """`10⁻⁶`; `1` in place of `10⁰`."""
    return "1" if exponent == 0 else "10" if exponent == 1 else f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def _within(share: float) -> float:
    return MARGIN + (100 - 2 * MARGIN) * min(1.0, max(0.0, share))


def short(place: float) -> str:
    """A coordinate in as few characters as a screen can show."""
    return f"{place:.1f}".removesuffix(".0")

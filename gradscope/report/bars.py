"""Bars and sparklines on a log scale: δ falls by powers of ten, and only so is it seen.

Written here because the chart libraries for terminals raise on NaN or changed their interface.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradscope.report.glyphs import Glyphs

LEAST_DECADES = 3.0
"""A scale spans at least a factor of 1000, so that a healthy network looks level."""
BROKEN = "x"


@dataclass(frozen=True, slots=True)
class LogScale:
    low: float
    """As log10."""
    high: float

    def place(self, value: float) -> float:
        """Where a positive value stands, in [0, 1]."""
        return min(1.0, max(0.0, (math.log10(value) - self.low) / (self.high - self.low)))


def scale_of(values: Iterable[float | None]) -> LogScale | None:
    """One scale for all positive finite values; `None` where there is none."""
    logs = [math.log10(v) for v in values if v is not None and math.isfinite(v) and v > 0]
    if not logs:
        return None
    high = max(logs)
    return LogScale(min(*logs, high - LEAST_DECADES), high)


def bar(value: float | None, scale: LogScale | None, width: int, glyphs: Glyphs) -> str:
    """Empty for zero and for what was not measured; the smallest value keeps a sliver."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return BROKEN * width
    if value <= 0 or scale is None:
        return ""
    eighths = max(1, round(scale.place(value) * width * 8))
    full, rest = divmod(eighths, 8)
    return glyphs.eighths[7] * full + (glyphs.eighths[rest - 1] if rest else "")


def sparkline(values: Sequence[float | None], width: int, glyphs: Glyphs) -> str:
    """At most `width` characters; each stands for the median of its stretch, `x` if one is not finite."""
    scale = scale_of(values)
    return "".join(_height(chunk, scale, glyphs) for chunk in _chunks(values, width))


def _chunks(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    n, cells = len(values), min(len(values), max(1, width))
    return [values[i * n // cells : (i + 1) * n // cells] for i in range(cells)]


def _height(chunk: Sequence[float | None], scale: LogScale | None, glyphs: Glyphs) -> str:
    known = sorted(v for v in chunk if v is not None)
    if any(not math.isfinite(v) for v in known):
        return BROKEN
    middle = known[len(known) // 2] if known else 0.0
    if middle <= 0 or scale is None:
        return " "
    top = len(glyphs.ramp) - 1
    return glyphs.ramp[round(scale.place(middle) * top)]

"""Bars and sparklines on a log scale: δ falls by powers of ten, and only so is it seen.

Written here because the chart libraries for terminals raise on NaN or changed their interface.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len

from gradscope.report.shared.base import Line, Span
from gradscope.report.shared.glyphs import Glyphs

LEAST_DECADES = 3.0
"""A scale spans at least a factor of 1000, so that a healthy network looks level."""
BROKEN = "x"
ZERO = "0"


@dataclass(frozen=True, slots=True)
class LogScale:
    low: float
    """As log10."""
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        return 10.0**self.low, 10.0**self.high

    def place(self, value: float) -> float:
        """Where a positive value stands, in [0, 1]."""
        return min(1.0, max(0.0, (math.log10(value) - self.low) / (self.high - self.low)))


@dataclass(frozen=True, slots=True)
class LinearScale:
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    def place(self, value: float) -> float:
        """Where a finite value stands, in [0, 1]."""
        span = self.high - self.low
        return min(1.0, max(0.0, (value - self.low) / span)) if span > 0 else 0.5


Scale = LinearScale | LogScale


def scale_of(values: Iterable[float | None]) -> LogScale | None:
    """One scale for all positive finite values; `None` where there is none."""
    logs = [math.log10(v) for v in values if v is not None and math.isfinite(v) and v > 0]
    if not logs:
        return None
    high = max(logs)
    return LogScale(min(*logs, high - LEAST_DECADES), high)


def bar(value: float | None, scale: Scale | None, width: int, glyphs: Glyphs) -> str:
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


def sparkline(
    values: Sequence[float | None], width: int, glyphs: Glyphs, scale: LogScale | None = None
) -> str:
    """At most `width` characters; each stands for the median of its stretch, `x` if one is not finite.

    `scale` is one that several rows share.
    """
    scale = scale or scale_of(values)
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


def cells(values: Sequence[float | None], scale: Scale | None, glyphs: Glyphs) -> Line:
    """A character for each: a height on the scale, `x` for what is not finite, a blank for `None`, and `0`
    for zero on a log scale."""
    each = [_cell(value, scale, glyphs) for value in values]
    return [("".join(text for text, _ in run), style) for style, run in groupby(each, key=lambda it: it[1])]


def _cell(value: float | None, scale: Scale | None, glyphs: Glyphs) -> Span:
    if value is None:
        return " ", ""
    if not math.isfinite(value):
        return BROKEN, "bad"
    if scale is None or (value <= 0 and isinstance(scale, LogScale)):
        return ZERO, "strong"
    return glyphs.ramp[round(scale.place(value) * (len(glyphs.ramp) - 1))], "bar"


def sparkline_between(values: Sequence[float], low: float, high: float, width: int, glyphs: Glyphs) -> str:
    """On a linear scale from `low` to `high`, which several curves share; `x` where one is not finite."""
    top = len(glyphs.ramp) - 1
    span = high - low

    def height(chunk: Sequence[float | None]) -> str:
        known = sorted(v for v in chunk if v is not None)
        if any(not math.isfinite(v) for v in known):
            return BROKEN
        share = (known[len(known) // 2] - low) / span if span > 0 else 0.0
        return glyphs.ramp[round(min(1.0, max(0.0, share)) * top)]

    return "".join(height(chunk) for chunk in _chunks(values, width))


PLOT_ROWS = 8


def plot(
    rates: Sequence[float],
    losses: Sequence[float],
    marked: float | None,
    what: str,
    width: int,
    glyphs: Glyphs,
) -> list[Line]:
    """A loss over learning rates in log steps, with a mark below the one that is meant."""
    columns = max(10, min(width - 10, len(losses)))
    chunks = _chunks(losses, columns)
    heights = [float(sorted(v for v in chunk if v is not None)[len(chunk) // 2]) for chunk in chunks]
    low, high = min(heights), max(heights)
    span = (high - low) or 1.0
    cells = [round((value - low) / span * (PLOT_ROWS * 8 - 1)) + 1 for value in heights]
    lines: list[Line] = []
    for row in range(PLOT_ROWS - 1, -1, -1):
        label = f"{high:.3g}" if row == PLOT_ROWS - 1 else f"{low:.3g}" if row == 0 else ""
        text = "".join(_fill(cell - row * 8, glyphs) for cell in cells)
        lines.append([(f"{label:>8} ", "quiet"), (text, "bar")])
    if marked is not None:
        place = min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / marked)))
        at = place * len(cells) // len(rates)
        lines.append([(" " * (9 + at), ""), (f"^ {marked:.2g}", "strong")])
    ends = f"{rates[0]:.1g}", f"{rates[-1]:.2g}"
    room = len(cells) - len(ends[0]) - len(ends[1]) - (cell_len(what) - len(what))
    middle = what.center(max(0, room))
    lines.append([((" " * 9 + ends[0] + middle + ends[1])[:width], "quiet")])
    return lines


def _fill(eighths: int, glyphs: Glyphs) -> str:
    if eighths <= 0:
        return " "
    return glyphs.ramp[min(7, eighths * len(glyphs.ramp) // 8 - 1)] if eighths < 8 else glyphs.ramp[-1]

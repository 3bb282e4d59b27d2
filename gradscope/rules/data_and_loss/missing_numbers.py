"""What `unnormalized-input` says of columns in which one number may stand for missing ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gradscope.records import FillValue, Severity, ShortTraining, StandardizedArray
from gradscope.rules.base import Hit
from gradscope.rules.words import number

LOWER = 0.8
"""Of the loss as it is, where the number may be of another origin, as the log of an epsilon."""


def without_numbers(
    training: ShortTraining, array: StandardizedArray, far: float, harmed: Severity | None
) -> Iterator[Hit]:
    """`far` as of the rule; `harmed` is the severity where the loss ends far lower without these numbers."""
    sure = [fill for fill in array.fills if fill.is_whole or fill.distance >= far]
    fills = sure or array.fills
    lower = array.end < min(array.end_without, array.start) if math.isfinite(array.end_without) else True
    if not sure and not (lower and array.end < LOWER * array.end_without):
        return
    least = Severity.WARNING if lower else Severity.NOTE
    severity = min(harmed or least, least, key=lambda each: each.rank)
    worst = max(fills, key=lambda fill: fill.distance)
    yield Hit(
        message=_told(array, fills, worst) + _tried(training, array),
        remedy=_remedy(worst),
        evidence={
            **({} if worst.feature is None else {"column": worst.feature}),
            "value": worst.value,
            "share": worst.share,
            "distance": worst.distance,
            "columns": len({fill.feature for fill in fills}),
            "loss_after": array.end_without,
            "loss_after_filled": array.end,
            "limit": far,
        },
        severity=severity,
        layers=training.layers,
        explains=None if harmed is not None else (),
    )


def _told(array: StandardizedArray, fills: Sequence[FillValue], worst: FillValue) -> str:
    whole = worst.feature is None
    where = f"the input `{array.name}`" if whole else f"column {worst.feature} of the input `{array.name}`"
    lowest, highest = _apart(worst.lowest, worst.highest)
    others = (
        f"all others are {lowest}"
        if worst.lowest == worst.highest
        else f"all others lie between {lowest} and {highest}"
    )
    more = len({fill.feature for fill in fills}) - 1
    same = (
        f" {more} other {'column has' if more == 1 else 'columns have'} such a number, too." if more else ""
    )
    return (
        f"{worst.share:.0%} of {where} are exactly {_exact(worst)}, and {others}: "
        f"that number may stand for missing ones.{same}{'' if whole else ' Columns count from 0.'}"
    )


def _tried(training: ShortTraining, array: StandardizedArray) -> str:
    finite = math.isfinite(array.end_without)
    end = number(array.end_without)
    return (
        f" {array.steps} steps of {training.optimizer} end at a loss "
        f"{f'of {end}' if finite else 'that is not finite'}; with the median of the others in its place, and "
        f"the array standardized then, they end at {number(array.end)}."
    )


def _remedy(worst: FillValue) -> str:
    before = "" if worst.is_whole else " (as -9999 does, which would be another number after it was scaled)"
    return (
        f"Where {_exact(worst)} stands for a missing number{before}, put the median of the others of its "
        "column there before anything is scaled, and add a column that is 1 there, else 0. With this number "
        "inside of the mean and the standard deviation, standardizing presses the others together."
    )


def _exact(fill: FillValue) -> str:
    return f"{fill.value:.0f}" if fill.is_whole and abs(fill.value) < 1e7 else f"{fill.value:.7g}"


def _apart(lowest: float, highest: float) -> tuple[str, str]:
    """With as many digits as tell them apart: `0.328` and `9.04`, `0.37995` and `0.38257`."""
    apart = highest - lowest
    larger = max(abs(lowest), abs(highest))
    digits = 3 + (max(0, math.ceil(math.log10(larger / apart))) if apart > 0 else 0)
    return f"{lowest:.{digits}g}", f"{highest:.{digits}g}"

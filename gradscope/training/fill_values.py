"""Numbers that stand for missing ones: -9999, 999, 65535, again and again, far from the rest of a column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradscope.records import FillValue

FAR = 10.0
"""Distance from the nearest of the others, over that from the least to the greatest of these. A clipped value
lies where the others end."""
FAR_USUAL = 1.0
"""Of a number that is usual for it: all nines, or the last one of an integer type."""
USUAL = re.compile(r"9{3,}|3276[78]|65535|214748364[78]")
FEWEST_OTHERS = 8
"""Different ones: columns of fewer are categories, flags, or one-hot."""
FEWEST_ROWS = 3
SMALLEST_SHARE, LARGEST_SHARE = 0.01, 0.9
MOST_VALUES = 3
"""Of one column, as for "not asked" and "not answered"."""
ROUNDING = 1e-6
"""Of the largest of the others: within it they may be a single one."""


def fill_values(found: Any, features: int | None) -> tuple[FillValue, ...]:
    """Of an array of finite float64; `features` is the axis of its columns, `None` where it has none.

    What stands for a missing number in one column does so in any other one, even of a few numbers.
    """
    columns = [found.ravel()] if features is None else np.moveaxis(found, features, 0)
    columns = [np.ravel(column) for column in columns]
    names = [None] if features is None else list(range(len(columns)))
    own = [_of_column(column) for column in columns]
    known = {value for values in own for value in values}
    found_there = [values or _known(column, known) for column, values in zip(columns, own, strict=True)]
    return tuple(
        each
        for name, column, values in zip(names, columns, found_there, strict=True)
        for each in _described(name, column, values)
    )


def _of_column(column: Any) -> tuple[float, ...]:
    """At either end of the column, beyond the widest gap between neighbouring numbers."""
    values, counts = np.unique(column, return_counts=True)
    if len(values) <= FEWEST_OTHERS:
        return ()
    cut = int(np.argmax(np.diff(values))) + 1
    for far, others in ((slice(cut), slice(cut, None)), (slice(cut, None), slice(cut))):
        if len(values[far]) > MOST_VALUES or len(values[others]) < FEWEST_OTHERS:
            continue
        span, gap = float(np.ptp(values[others])), float(values[cut] - values[cut - 1])
        share = counts[far].sum() / len(column)
        repeated = counts[far].min() >= FEWEST_ROWS and SMALLEST_SHARE <= share <= LARGEST_SHARE
        told_apart = span > ROUNDING * np.abs(values[others]).max()
        if repeated and told_apart and all(gap >= _far_enough(value) * span for value in values[far]):
            return tuple(map(float, values[far]))
    return ()


def _far_enough(value: float) -> float:
    whole = float(value).is_integer()
    return FAR_USUAL if whole and USUAL.fullmatch(str(int(abs(value)))) else FAR


def _known(column: Any, known: set[float]) -> tuple[float, ...]:
    """Those of other columns that this one has, too, farther from its other numbers than these are apart."""
    mine = [value for value in known if np.any(column == value)]
    others = column[~np.isin(column, mine)]
    if not mine or not others.size:
        return ()
    span = float(np.ptp(others))
    return tuple(value for value in mine if np.abs(others - value).min() > FAR_USUAL * span)


def _described(feature: int | None, column: Any, values: tuple[float, ...]) -> Iterator[FillValue]:
    others = column[~np.isin(column, values)]
    for value in values:
        yield FillValue(
            feature=feature,
            value=value,
            share=float(np.mean(column == value)),
            lowest=float(others.min()),
            highest=float(others.max()),
            median=float(np.median(others)),
        )

"""The numbers of a training as columns of time, the loss and the norm of the gradient among them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradscope.records import History
from gradscope.report.shared.bars import LinearScale, LogScale, Scale, scale_of
from gradscope.report.shared.history import first_loss, last_loss, loss_finite, loss_known

WIDE = 2.0
"""[decades] beyond which a loss stands on a log scale."""


@dataclass(frozen=True, slots=True)
class TimeCurve:
    """One number over the columns: what stands for each, and its extremes; `None` where it is not known, and
    infinite where it is not finite."""

    name: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    first: float | None
    """Of the first and of the last span; NaN where it is not finite."""
    last: float | None
    scale: Scale | None
    """Of `values`."""


def time_columns(history: History, most: int) -> list[range]:
    """At most so many stretches of neighbouring spans."""
    spans = len(history.spans)
    count = min(spans, max(1, most))
    return [range(i * spans // count, (i + 1) * spans // count) for i in range(count)]


def steps_in(history: History, column: range) -> tuple[int, int]:
    """The first and the last step of a column."""
    return history.span_of(column[0])[0], history.span_of(column[-1])[1]


def column_of(history: History, columns: Sequence[range], step: int) -> int:
    """The column in which a step lies."""
    starts = [history.spans[column[0]] for column in columns]
    return max((place for place, start in enumerate(starts) if start <= step), default=0)


def spread(values: Iterable[float | None]) -> bool:
    """Whether the finite values are positive and span so much that only a log scale shows them."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > 10**WIDE * min(finite)


def losses(history: History, columns: Sequence[range]) -> TimeCurve | None:
    """The mean of each column; `None` where the loss is not known."""
    if not history.losses.low:
        return None
    low, high = history.losses.low, history.losses.high
    known = [[span for span in column if loss_known(history, span)] for column in columns]
    values = tuple(_mean_loss(history, column) for column in known)
    return TimeCurve(
        "loss",
        values,
        tuple(min((low[span] for span in column), default=None) for column in known),
        tuple(max((high[span] for span in column), default=None) for column in known),
        first_loss(history),
        last_loss(history),
        loss_scale([*values, *validation(history, columns)]),
    )


def loss_scale(values: Sequence[float | None]) -> Scale | None:
    """Linear, and on a log scale where the loss spans more than two decades."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    return LogScale(math.log10(low), math.log10(high)) if spread(finite) else LinearScale(low, high)


def validation(history: History, columns: Sequence[range]) -> list[float | None]:
    """The last validation loss in each column; one after the last step belongs to the last column."""
    found: list[float | None] = [None] * len(columns)
    for record in history.validation:
        if columns:
            found[column_of(history, columns, record.step)] = _comparable(record.loss)
    return found


def gradient_norms(history: History, columns: Sequence[range]) -> TimeCurve:
    """The highest of each column: what is short and large must be seen."""
    low, high = history.gradient_norms.low, history.gradient_norms.high
    values = tuple(max(high[span] for span in column) for column in columns)
    return TimeCurve(
        "gradient norm",
        values,
        tuple(min(low[span] for span in column) for column in columns),
        values,
        high[0] if high else None,
        high[-1] if high else None,
        scale_of(values),
    )


def _mean_loss(history: History, spans: Sequence[int]) -> float | None:
    if not spans:
        return None
    if not all(loss_finite(history, span) for span in spans):
        return math.inf
    return math.fsum(history.mean_losses[span] for span in spans) / len(spans)


def _comparable(value: float) -> float:
    return value if math.isfinite(value) else math.inf

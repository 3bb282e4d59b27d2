"""What the rules over steps ask of a history: levels, noise, and the step at which something began."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradscope.records import Extremes, History
from gradscope.rules.words import count

PART = 5
"""A level is the mean over this part of the run: its first fifth, its last fifth."""


@dataclass(frozen=True, slots=True)
class Level:
    mean: float
    error: float
    """Standard error, twice what independent values would have: neighbouring losses are not."""


def level(values: Sequence[float]) -> Level:
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return Level(finite[0] if finite else math.nan, math.inf)
    return Level(statistics.fmean(finite), 2 * statistics.stdev(finite) / len(finite) ** 0.5)


def start_and_end(history: History) -> tuple[Level, Level]:
    """Of the loss, over the first and the last fifth of the spans."""
    losses = history.mean_losses
    size = max(len(losses) // PART, 1)
    return level(losses[:size]), level(losses[-size:])


def roughness(values: Sequence[float]) -> float:
    """Median of the steps from one value to the next: how much noise there is, whatever the trend."""
    steps = [abs(after - before) for before, after in zip(values, values[1:], strict=False)]
    finite = [step for step in steps if math.isfinite(step)]
    return statistics.median(finite) if finite else 0.0


def since(length: int, holds: Callable[[int], bool]) -> int | None:
    """The first place from which on it holds to the end."""
    place = length
    while place and holds(place - 1):
        place -= 1
    return place if place < length else None


def at_step(history: History, place: int) -> str:
    """`step 120`, or `steps 1,024 to 1,031` where those were merged."""
    first, last = history.span_of(place)
    return f"step {first:,}" if first >= last else f"steps {first:,} to {last:,}"


def highest(found: Extremes | None) -> Sequence[float]:
    """NaN counts as nothing measured."""
    return () if found is None else found.high


def taken(history: History) -> str:
    """`200 steps of your optimizer`."""
    return f"{count(history.steps, 'step')} of {history.optimizer}"


def names(history: History) -> tuple[str, ...]:
    return tuple(layer.name for layer in history.layers)

"""What the rules over steps ask of a history: levels, noise, and the step at which something began."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.records import Ending, Extremes, History
from gradscope.rules.words import count, names_of

BROKEN = ("non-finite", "diverging-loss", "non-finite-update")
"""Rules whose finding accounts for whatever else a training shows."""
PART = 5
"""A level is the median over this part of the run: its first fifth, its last fifth."""


@dataclass(frozen=True, slots=True)
class Level:
    median: float
    scatter: float
    """Standard deviation of the values themselves, by their median deviation."""
    error: float
    """Standard error of the median, twice what independent values would have: neighbouring losses are not."""


OF_NORMAL = 1.4826
"""Standard deviation of normal values, in median absolute deviations."""
OF_MEDIAN = 1.2533
"""Standard error of their median, in those of their mean."""


def level(values: Sequence[float]) -> Level:
    """Of the finite ones; by medians, so that one wild loss does not move it."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return Level(finite[0] if finite else math.nan, math.inf, math.inf)
    middle = statistics.median(finite)
    scatter = OF_NORMAL * statistics.median(abs(value - middle) for value in finite)
    return Level(middle, scatter, 2 * OF_MEDIAN * scatter / len(finite) ** 0.5)


def start_and_end(history: History) -> tuple[Level, Level]:
    """Of the loss, over the first and the last fifth of the spans."""
    losses = history.mean_losses
    size = max(len(losses) // PART, 1)
    return level(losses[:size]), level(losses[-size:])


def since(holds: Sequence[bool]) -> int | None:
    """The first place from which on it holds to the end."""
    place = len(holds)
    while place and holds[place - 1]:
        place -= 1
    return place if place < len(holds) else None


@dataclass(frozen=True, slots=True)
class Growth:
    first: float
    last: float
    since: int
    """The span in which it begins."""

    @property
    def factor(self) -> float:
        return self.last / abs(self.first) if self.first else math.inf


FEWEST_RISES = 2
SURE = 1e6
"""A factor beyond which one rise is enough."""


def growth(history: History) -> Growth | None:
    """The rise from loss to loss that leads to the last finite one; `None` where it is no such rise."""
    losses = history.losses.high
    end = len(losses)
    while end and not math.isfinite(losses[end - 1]):
        end -= 1
    begin = max(end - 1, 0)
    while begin and math.isfinite(losses[begin - 1]) and losses[begin - 1] < losses[begin]:
        begin -= 1
    if end - begin < 2:
        return None
    found = Growth(losses[begin], losses[end - 1], begin)
    return found if end - begin > FEWEST_RISES or found.factor > SURE else None


FEWEST_BAD = 5
"""Steps in a row to the end without a finite loss: one batch that is broken is not the end of a training."""


def broke_down(history: History) -> bool:
    """A parameter would not have been finite, or the loss is not, at several steps to the end."""
    since = history.nonfinite_since
    return history.ending in (Ending.NOT_FINITE, Ending.LOSS_NOT_FINITE) or (
        since is not None and history.steps - since >= FEWEST_BAD
    )


def broken_layers(history: History) -> list[str]:
    """Those of which the last update is not finite."""
    return [layer.name for layer in history.layers if any(map(math.isinf, highest(layer.update_rms)[-1:]))]


def not_taken(history: History) -> str:
    """`step 36 would make parameters in `head` NaN or infinite, and was not taken`"""
    broken = broken_layers(history)
    where = f" in {names_of(broken)}" if broken else ""
    return f"step {history.steps - 1:,} would make parameters{where} NaN or infinite, and was not taken"


def at_step(history: History, place: int) -> str:
    """`step 120`, or `steps 1,024 to 1,031` where those were merged."""
    first, last = history.span_of(place)
    return f"step {first:,}" if first >= last else f"steps {first:,} to {last:,}"


def highest(found: Extremes | None) -> Sequence[float]:
    """NaN counts as nothing measured."""
    return () if found is None else found.high


def taken(history: History) -> str:
    """`200 steps of your optimizer`, and from which on, where a training was taken up again."""
    since = f" from step {history.begun:,} on" if history.begun else ""
    return f"{count(history.recorded_steps, 'step')} of {history.optimizer}{since}"


def names(history: History) -> tuple[str, ...]:
    return tuple(layer.name for layer in history.layers)

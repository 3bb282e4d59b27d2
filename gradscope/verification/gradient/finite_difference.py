"""Central differences along a line: the derivative, and how far it can be off.

The losses at ±h are known for steps that shrink by a factor of four. Richardson extrapolation of the central
differences gives a table; each entry is judged by its own error: what it changes against the entries that it
was made from (truncation), the noise of the loss over the step (rounding), and how far the differences from
the two sides disagree as the step goes to zero (a kink). The entry with the smallest sum is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RATIO = 4.0
"""Each step over the next: two of them span the range in which float32 has a usable step at all."""
_GAIN = RATIO**2
"""Central differences have an error series in even powers of the step."""
_LEVELS = 3


class Limit(StrEnum):
    """The largest part of the uncertainty."""

    ROUNDING = "rounding"
    TRUNCATION = "truncation"
    KINK = "kink"


@dataclass(frozen=True)
class Line:
    """Losses along one direction: at `here`, and at each step ahead and behind, the widest step first."""

    here: float
    noise: float
    """Standard deviation of the loss between points that no step tells apart."""
    steps: Floats
    ahead: Floats
    behind: Floats

    @property
    def is_flat(self) -> bool:
        """The loss is the same at every step."""
        return not self._moves().any()

    @property
    def quantum(self) -> float:
        """The smallest change of the loss, where some steps change it and others do not; else zero."""
        moves = self._moves()
        return float(moves[moves > 0].min()) if moves.any() and not moves.all() else 0.0

    def _moves(self) -> Floats:
        return np.abs(np.concatenate([self.ahead, self.behind]) - self.here)

    def joined(self, other: Line) -> Line:
        order = np.argsort(-np.concatenate([self.steps, other.steps]), kind="stable")

        def both(a: Floats, b: Floats) -> Floats:
            return np.concatenate([a, b])[order]

        return Line(
            self.here,
            max(self.noise, other.noise),
            both(self.steps, other.steps),
            both(self.ahead, other.ahead),
            both(self.behind, other.behind),
        )


@dataclass(frozen=True)
class Estimate:
    """The derivative along the line. Where the losses are not finite, so is the uncertainty."""

    value: float
    uncertainty: float
    step: float
    """The finest step that the value rests on."""
    limit: Limit
    values: Floats
    """The best entry that ends at each step but the widest."""
    uncertainties: Floats
    """The uncertainty of each of these."""


def estimate(line: Line) -> Estimate:
    """The best entry of the Richardson table of `line`, which holds three steps or more."""
    with np.errstate(invalid="ignore", over="ignore"):
        table, errors = _table((line.ahead - line.behind) / (2 * line.steps))
        others = (line.noise / line.steps)[1:], _kinks(line)
        totals = np.nan_to_num(errors + others[0] + others[1], nan=np.inf, posinf=np.inf)
    level = np.argmin(totals, axis=0)
    ends = np.arange(totals.shape[1])
    values, uncertainties = table[level, ends], totals[level, ends]
    best = int(np.argmin(uncertainties))
    parts = {
        Limit.ROUNDING: others[0][best],
        Limit.TRUNCATION: errors[level[best], best],
        Limit.KINK: others[1][best],
    }
    limit = max(parts, key=lambda part: parts[part])
    return Estimate(
        float(values[best]),
        float(uncertainties[best]),
        float(line.steps[best + 1]),
        limit,
        values,
        uncertainties,
    )


def _table(central: Floats) -> tuple[Floats, Floats]:
    """Entries and their errors, by level of extrapolation and by the finest step they use but the widest.

    The error of an entry is the larger of its changes against the two that it is made from (Ridders 1982).
    """
    below = central
    table, errors = [central[1:]], [np.abs(np.diff(central))]
    for level in range(1, min(_LEVELS, len(central))):
        weight = _GAIN**level
        row = (weight * below[1:] - below[:-1]) / (weight - 1)
        error = np.maximum(np.abs(row - below[1:]), np.abs(row - below[:-1]))
        unknown = np.full(level - 1, np.inf)
        table.append(np.concatenate([unknown, row]))
        errors.append(np.concatenate([unknown, error]))
        below = row
    return np.stack(table), np.stack(errors)


def _kinks(line: Line) -> Floats:
    """For each step but the widest: half of what one-sided differences still disagree by at step zero.

    Forward less backward difference is h·f'' where the loss is smooth, and a constant where it has a kink
    at the point itself: extrapolated to zero only the kink is left. Less what noise alone would give.
    """
    apart = (line.ahead + line.behind - 2 * line.here) / line.steps
    at_zero = (RATIO * apart[1:] - apart[:-1]) / (RATIO - 1)
    noise = 2 * _KINK_NOISE * line.noise / line.steps[1:]
    return np.maximum(np.abs(at_zero) - noise, 0.0) / 2


_KINK_NOISE = 3.3
"""Standard deviation of `at_zero` over that of the loss per step: sqrt(6 (16 + 1/16)) / 3."""

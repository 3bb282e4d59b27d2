"""Finite differences of one place's function along a line.

The line runs where the rule and the derivative of its function differ most, so that one line decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.verification.gradient.finite_difference import RATIO, Estimate, Floats, Limit, Line, estimate
from gradscope.verification.rules.derivatives import (
    Asked,
    Programs,
    Values,
    Vector,
    as_written,
    changes,
    in_float64,
    precision_of,
)

WIDE_STEPS = 2.0**-4 / RATIO ** np.arange(9)
"""Relative to the size of what is moved."""
OWN_STEPS = 2.0**-2 / RATIO ** np.arange(6)
"""The same for float32 and below, which have no digits for fine steps."""


@dataclass(frozen=True)
class Differences:
    """Differences of the place that `asked` tells, at given operands."""

    asked: Asked
    programs: Programs
    operands: Values
    wide: bool
    """The function runs in float64."""

    def along(self, number: int, direction: Vector, weights: list[Vector], scale: float) -> Line:
        """Of `weights · results`, by argument `number` along `direction`, in units of the direction."""
        operand = self.asked.by[number]
        function = in_float64(self.asked.place) if self.wide else as_written(self.asked.place)
        run = changes(function, self.asked.wanted, operand)
        steps: Floats = np.asarray(scale * (WIDE_STEPS if self.wide else OWN_STEPS), np.float64)
        arrays = _cast([direction, *weights], steps, self.wide)
        moved, spread = self.programs.run(run, self.operands, *arrays, wide=self.wide)
        ahead, behind = np.split(np.asarray(moved, np.float64), 2)
        return Line(0.0, self._rounding() * float(spread), steps, ahead, behind)

    def _rounding(self) -> float:
        if self.wide:
            return precision_of(np.float64)
        return max(precision_of(self.operands[i].dtype) for i in self.asked.by)


def _cast(seeds: list[Vector], steps: Floats, wide: bool) -> tuple[Any, list[Any], Any]:
    def cast(value: Any) -> Any:
        complex_, real = (np.complex128, np.float64) if wide else (np.complex64, np.float32)
        return value.astype(complex_ if np.iscomplexobj(value) else real)

    direction, *weights = (cast(np.asarray(seed)) for seed in seeds)
    return direction, weights, cast(steps)


@dataclass(frozen=True)
class Probe:
    """One line, and the derivative along it that a vector of the compared space predicts."""

    estimate: Estimate
    kink: float
    """Half of what the slopes ahead and behind differ by at step zero; 0 where nothing hints at a kink."""
    says: Callable[[Vector], float]


def probe(differences: Differences, number: int, seeds: list[Vector], towards: Vector) -> Probe:
    """Along the line that shows `towards`, a vector in the space of the compared derivatives.

    Of a `custom_vjp` that is the space of the argument, so the line runs along it. Of a `custom_jvp` it is
    that of the results: the line runs along the tangent, and the results are weighed by it.
    """
    asked, operand = differences.asked, differences.operands[differences.asked.by[number]]
    here = np.abs(np.asarray(widened_array(operand)))
    top = float(np.max(np.abs(towards)))
    shown = np.conj(towards) / (top or 1.0)
    if asked.reverse:
        direction, weights = shown.reshape(operand.shape), seeds
    else:
        direction = np.asarray(widened_array(seeds[number]))
        weights = _split(shown, [asked.place.eqn.outvars[i].aval for i in asked.wanted])
    share = np.abs(direction) ** 2
    total = float(share.sum())
    scale = float(np.sqrt((share * here**2).sum() / total)) if total else 0.0
    scale = scale or float(np.sqrt(np.mean(here**2))) or 1.0
    line = differences.along(number, direction, weights, scale)
    facing = direction.ravel() if asked.reverse else shown
    found = estimate(line)
    kink = _kink(line, found.step) if found.limit is Limit.KINK else 0.0
    return Probe(found, kink, lambda derivative: float(np.real(np.sum(derivative * facing))))


def _kink(line: Line, step: float) -> float:
    """The one-sided slopes extrapolated to step zero from `step` and the wider one before it."""
    at = max(int(np.argmin(np.abs(line.steps - step))), 1)
    apart = (line.ahead + line.behind)[at - 1 : at + 1] / line.steps[at - 1 : at + 1]
    return float(np.abs(RATIO * apart[1] - apart[0]) / (RATIO - 1) / 2)


def widened_array(value: Any) -> Vector:
    array = np.asarray(value)
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def _split(flat: Vector, avals: list[Any]) -> list[Vector]:
    found, start = [], 0
    for aval in avals:
        size = int(np.prod(aval.shape, dtype=np.int64))
        found.append(flat[start : start + size].reshape(aval.shape))
        start += size
    return found

"""Finite differences of the function of one call, along a line.

The line runs where the rule and the derivative of its function differ most, so that one line decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.verification.gradient.finite_difference import RATIO, Estimate, Floats, Limit, Line, estimate
from gradscope.verification.rules.derivatives import (
    DerivativeRequest,
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
    """Finite differences of the function of `request`, at given operands."""

    request: DerivativeRequest
    programs: Programs
    operands: Values
    wide: bool
    """The function runs in float64."""

    def along(self, number: int, direction: Vector, weights: list[Vector], scale: float) -> Line:
        """Of `weights · results`, by argument `number` along `direction`, in units of the direction."""
        operand = self.request.by[number]
        function = in_float64(self.request.call) if self.wide else as_written(self.request.call)
        run = changes(function, self.request.wanted, operand)
        steps: Floats = np.asarray(scale * (WIDE_STEPS if self.wide else OWN_STEPS), np.float64)
        arrays = _cast([direction, *weights], steps, self.wide)
        moved, spread = self.programs.run(run, self.operands, *arrays, wide=self.wide)
        ahead, behind = np.split(np.asarray(moved, np.float64), 2)
        return Line(0.0, self._rounding() * float(spread), steps, ahead, behind)

    def _rounding(self) -> float:
        if self.wide:
            return precision_of(np.float64)
        return max(precision_of(self.operands[i].dtype) for i in self.request.by)


def _cast(seeds: list[Vector], steps: Floats, wide: bool) -> tuple[Any, list[Any], Any]:
    def cast(value: Any) -> Any:
        complex_, real = (np.complex128, np.float64) if wide else (np.complex64, np.float32)
        return value.astype(complex_ if np.iscomplexobj(value) else real)

    direction, *weights = (cast(np.asarray(seed)) for seed in seeds)
    return direction, weights, cast(steps)


@dataclass(frozen=True)
class ProbedLine:
    """One line, and the derivative along it that a vector of the compared space predicts."""

    estimate: Estimate
    kink: float
    """Half of what the slopes ahead and behind differ by at step zero; 0 where nothing hints at a kink."""
    predicts: Callable[[Vector], float]


def probe(differences: Differences, number: int, seeds: list[Vector], towards: Vector) -> ProbedLine:
    """Along the line that shows `towards`, a vector in the space of the compared derivatives.

    Of a `custom_vjp` that is the space of the argument, so the line runs along it. Of a `custom_jvp` it is
    that of the results: the line runs along the tangent, and the results are weighed by it.
    """
    request, operand = differences.request, differences.operands[differences.request.by[number]]
    here = np.abs(np.asarray(widened_array(operand)))
    top = float(np.max(np.abs(towards)))
    shown = np.conj(towards) / (top or 1.0)
    if request.reverse:
        direction, weights = shown.reshape(operand.shape), seeds
    else:
        direction = np.asarray(widened_array(seeds[number]))
        weights = _split(shown, [request.call.eqn.outvars[i].aval for i in request.wanted])
    share = np.abs(direction) ** 2
    total = float(share.sum())
    scale = float(np.sqrt((share * here**2).sum() / total)) if total else 0.0
    scale = scale or float(np.sqrt(np.mean(here**2))) or 1.0
    line = differences.along(number, direction, weights, scale)
    facing = direction.ravel() if request.reverse else shown
    found = estimate(line)
    kink = _kink(line, found.step) if found.limit is Limit.KINK else 0.0
    return ProbedLine(found, kink, lambda derivative: float(np.real(np.sum(derivative * facing))))


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

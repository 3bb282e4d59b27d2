"""Compares backpropagation with finite differences along one direction inside one leaf.

The step sizes are not fixed. The first are those at which the precision of the computation does best; wider
ones follow while rounding limits the estimate, finer ones while curvature or kinks do. A gradient is called
different only if the finest step at which the difference is detectable shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from gradscope.verification.gradient.finite_difference import RATIO, Estimate, Floats, Limit, Line, estimate

SAFETY = 3.0
"""Estimated errors are of the size of one standard deviation: within three of them is no disagreement."""
TOLERANCE = 1e-4
"""Less than this against the gradient of the leaf is no wrong gradient: no optimizer would notice it, and
rules that hold a rounded constant or stop an iteration early are off by as much."""
PRECISE = 0.1
"""A gradient is called right if the differences would have shown it to be off by this much."""
ROUNDING = 30.0
"""Rounding of a backward pass that is not measured at one step of a few units in the last place."""
CLOSE = 1e-3
"""Nothing better is tried once they would have shown this much."""
RUNS = 6
"""The most often that three more steps are taken along one direction."""
WIDEST = 2.0
"""Relative to the leaf's own scale."""


_THREE: Floats = RATIO ** np.array([2.0, 1.0, 0.0])


class Agreement(Enum):
    AGREES = auto()
    DIFFERS = auto()
    UNCLEAR = auto()


@dataclass(frozen=True)
class BackpropDerivative:
    """The directional derivative by backpropagation, and how sure a verdict on it can be.

    All four are in [loss per unit step].
    """

    value: float
    gradient_rounding: float
    """The error of `value` from rounding inside the backward pass."""
    size: float
    """The typical derivative along such a direction; errors are relative to it."""
    negligible: float
    """A derivative below this is small against those of the other leaves; zero turns that off."""

    @property
    def is_rounding(self) -> bool:
        """No larger than what rounding leaves of a zero: a bias before a normalization."""
        return self.size <= ROUNDING * self.gradient_rounding or self.value == 0


@dataclass(frozen=True)
class DirectionTest:
    """What was measured along one direction, and whether backpropagation agrees with it."""

    backprop: BackpropDerivative
    numeric: Estimate
    agreement: Agreement
    is_flat: bool = False
    """The loss changes at no step, although backpropagation gives a derivative."""
    jump: float = 0.0
    """The smallest change of the loss, where that is larger than its noise; zero where it is smooth."""

    @property
    def error(self) -> float:
        return abs(self.backprop.value - self.numeric.value)

    @property
    def uncertainty(self) -> float:
        return self.numeric.uncertainty + self.backprop.gradient_rounding

    @property
    def size(self) -> float:
        """What `error` is relative to; of the numeric derivative only what cannot be noise counts."""
        sure = abs(self.numeric.value) - SAFETY * self.uncertainty
        return max(self.backprop.size, abs(self.backprop.value), sure if np.isfinite(sure) else 0.0)

    @property
    def normalized_error(self) -> float:
        """`error` over the largest error that still counts as agreement: above 1 the two disagree."""
        allowed = max(SAFETY * self.uncertainty, TOLERANCE * self.size)
        return self.error / allowed if allowed else 0.0 if not self.error else np.inf


LossesAt = Callable[[Floats], tuple[Floats, Floats]]
"""From steps [units of the parameter] to the losses ahead of the point and behind it."""


@dataclass(frozen=True)
class StepSizes:
    """Chooses the steps: three at a time, the widest first."""

    scale: float
    """The leaf's own scale."""
    spacing: float
    """Relative distance of neighbouring numbers in the precision of the computation."""

    def first(self) -> Floats:
        finest = min(self.spacing ** (1 / 3), WIDEST / RATIO**3)
        return np.asarray(finest * self.scale * _THREE, np.float64)

    def wider(self, line: Line) -> Floats | None:
        steps = line.steps[0] * RATIO * _THREE
        return steps if steps[-1] <= WIDEST * self.scale else None

    def finer(self, line: Line) -> Floats | None:
        steps = line.steps[-1] / RATIO**3 * _THREE
        return steps if steps[0] >= 4 * self.spacing * self.scale else None


def run_test(
    backprop: BackpropDerivative, sizes: StepSizes, losses_at: LossesAt, here: float, noise: float
) -> DirectionTest:
    """Measure along the direction until it is clear, or until nothing more can be learned."""
    line = _line(sizes.first(), losses_at, here, noise)
    test = _judged(backprop, line)
    stalled = False
    for _ in range(RUNS - 1):
        steps = _next(test, sizes, line, stalled)
        if steps is None:
            break
        line = line.joined(_line(steps, losses_at, here, noise))
        after = _judged(backprop, line)
        stalled = stalled or after.uncertainty > test.uncertainty / 2
        test = after
    return test


def _line(steps: Floats, losses_at: LossesAt, here: float, noise: float) -> Line:
    return Line(here, noise, steps, *losses_at(steps))


def _next(test: DirectionTest, sizes: StepSizes, line: Line, stalled: bool) -> Floats | None:
    """The next three steps, or `None` to stop; `stalled`: the last three did not reduce the uncertainty."""
    if test.is_flat:
        return sizes.wider(line)
    if test.agreement is Agreement.DIFFERS or (
        test.agreement is Agreement.UNCLEAR and test.normalized_error > 1
    ):
        next_uncertainty = RATIO * line.noise / line.steps[-1]
        return sizes.finer(line) if SAFETY * next_uncertainty < test.error / 2 else None
    if stalled or (test.agreement is Agreement.AGREES and SAFETY * test.uncertainty <= CLOSE * test.size):
        return None
    return sizes.wider(line) if test.numeric.limit is Limit.ROUNDING else sizes.finer(line)


def _judged(backprop: BackpropDerivative, line: Line) -> DirectionTest:
    # A quantizer, or rounding inside the loss, absorbs small steps; the size of the loss does not show it.
    jump = line.quantum if backprop.value != 0 and line.quantum > line.noise else 0.0
    found = estimate(replace(line, noise=jump) if jump else line)
    is_flat = line.is_flat and backprop.value != 0
    test = DirectionTest(backprop, found, Agreement.UNCLEAR, is_flat, jump)
    if is_flat or not np.isfinite(test.uncertainty) or not np.isfinite(backprop.value):
        return test
    if test.normalized_error <= 1:
        seen = SAFETY * test.uncertainty <= (
            max(PRECISE * test.size, backprop.negligible) if backprop.is_rounding else PRECISE * test.size
        )
        return replace(test, agreement=Agreement.AGREES) if seen else test
    return replace(test, agreement=Agreement.DIFFERS) if _at_every_step(test) else test


def _at_every_step(test: DirectionTest) -> bool:
    """Two steps or more can show the disagreement, and each of those does."""
    backprop, numeric = test.backprop, test.numeric
    uncertainty = numeric.uncertainties + backprop.gradient_rounding
    errors = np.abs(numeric.values - backprop.value)
    with np.errstate(invalid="ignore"):
        usable = SAFETY * uncertainty < test.error / 2
        shown = errors > np.maximum(SAFETY * uncertainty, TOLERANCE * test.size)
    return int(usable.sum()) >= 2 and bool(shown[usable].all())

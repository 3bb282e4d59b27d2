"""One direction inside one leaf: does backpropagation say what the differences say?

The ladder of steps is not fixed. It begins where the precision of the computation has its best step, and
goes on to wider ones while rounding is what limits it, to finer ones while curvature or kinks are. Before a
gradient is called different, the finest step at which the difference could still be seen must show it.
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
CLOSE = 1e-3
"""Nothing better is tried once they would have shown this much."""
RUNS = 6
"""Ladders of three steps along one direction, at most."""
WIDEST = 2.0
"""Relative to the leaf's own scale."""


_THREE: Floats = RATIO ** np.array([2.0, 1.0, 0.0])


class Outcome(Enum):
    AGREES = auto()
    DIFFERS = auto()
    UNCLEAR = auto()


@dataclass(frozen=True)
class Claim:
    """What backpropagation says of a direction [loss per unit step], and how sure the verdict can be."""

    analytic: float
    wobble: float
    """What rounding inside the backward pass makes of it."""
    size: float
    """What a derivative along such a direction typically is: errors are relative to it."""
    negligible: float
    """A derivative that is small beside those of the other leaves; zero where that is of no interest."""


@dataclass(frozen=True)
class Trial:
    claim: Claim
    found: Estimate
    outcome: Outcome
    still: bool = False
    """The loss does not move at any step, though backpropagation says that it does."""
    grained: bool = False
    """It moves in grains that are coarser than the noise of the loss."""

    @property
    def gap(self) -> float:
        return abs(self.claim.analytic - self.found.value)

    @property
    def doubt(self) -> float:
        return self.found.uncertainty + self.claim.wobble

    @property
    def size(self) -> float:
        """What the disagreement is relative to; a numeric value counts for what is surely not noise."""
        sure = abs(self.found.value) - SAFETY * self.doubt
        return max(self.claim.size, abs(self.claim.analytic), sure if np.isfinite(sure) else 0.0)

    @property
    def strain(self) -> float:
        """The disagreement in units of what it may be."""
        allowed = max(SAFETY * self.doubt, TOLERANCE * self.size)
        return self.gap / allowed if allowed else 0.0 if not self.gap else np.inf


Measure = Callable[[Floats], tuple[Floats, Floats]]
"""Steps [units of the parameter] to the losses ahead and behind."""


@dataclass(frozen=True)
class Ladder:
    """How steps are chosen: the first of them, and the precision of what is computed."""

    unit: float
    """The leaf's own scale."""
    spacing: float
    """Relative distance of neighbouring numbers in the precision of the computation."""

    def first(self) -> Floats:
        finest = min(self.spacing ** (1 / 3), WIDEST / RATIO**3)
        return np.asarray(finest * self.unit * _THREE, np.float64)

    def wider(self, line: Line) -> Floats | None:
        steps = line.steps[0] * RATIO * _THREE
        return steps if steps[-1] <= WIDEST * self.unit else None

    def finer(self, line: Line) -> Floats | None:
        steps = line.steps[-1] / RATIO**3 * _THREE
        return steps if steps[0] >= 4 * self.spacing * self.unit else None


def run_trial(claim: Claim, ladder: Ladder, measure: Measure, here: float, noise: float) -> Trial:
    """Measure along the direction until it is clear, or until nothing more can be learned."""
    line = _line(ladder.first(), measure, here, noise)
    trial = _judged(claim, line)
    turned = False
    for _ in range(RUNS - 1):
        steps = _next(trial, ladder, line, turned)
        if steps is None:
            break
        line = line.joined(_line(steps, measure, here, noise))
        after = _judged(claim, line)
        turned = turned or after.doubt > trial.doubt / 2
        trial = after
    return trial


def _line(steps: Floats, measure: Measure, here: float, noise: float) -> Line:
    return Line(here, noise, steps, *measure(steps))


def _next(trial: Trial, ladder: Ladder, line: Line, turned: bool) -> Floats | None:
    """Where to look next; `turned`: the last look did not help."""
    if trial.still:
        return ladder.wider(line)
    if trial.outcome is Outcome.DIFFERS or (trial.outcome is Outcome.UNCLEAR and trial.strain > 1):
        next_doubt = RATIO * line.noise / line.steps[-1]
        return ladder.finer(line) if SAFETY * next_doubt < trial.gap / 2 else None
    if turned or (trial.outcome is Outcome.AGREES and SAFETY * trial.doubt <= CLOSE * trial.size):
        return None
    return ladder.wider(line) if trial.found.limit is Limit.ROUNDING else ladder.finer(line)


def _judged(claim: Claim, line: Line) -> Trial:
    # Grains: a quantizer, or rounding inside the loss that absorbs steps and that its size does not show.
    grained = claim.analytic != 0 and line.grain > line.noise
    found = estimate(replace(line, noise=line.grain) if grained else line)
    still = line.still and claim.analytic != 0
    trial = Trial(claim, found, Outcome.UNCLEAR, still, grained)
    if still or not np.isfinite(trial.doubt) or not np.isfinite(claim.analytic):
        return trial
    if trial.strain <= 1:
        seen = SAFETY * trial.doubt <= max(PRECISE * trial.size, claim.negligible)
        return replace(trial, outcome=Outcome.AGREES) if seen else trial
    return replace(trial, outcome=Outcome.DIFFERS) if _at_every_step(trial) else trial


def _at_every_step(trial: Trial) -> bool:
    """No step that could show the disagreement shows agreement, and two of them or more show it."""
    claim, found = trial.claim, trial.found
    doubt = found.doubts + claim.wobble
    gaps = np.abs(found.values - claim.analytic)
    with np.errstate(invalid="ignore"):
        usable = SAFETY * doubt < trial.gap / 2
        shown = gaps > np.maximum(SAFETY * doubt, TOLERANCE * trial.size)
    return int(usable.sum()) >= 2 and bool(shown[usable].all())

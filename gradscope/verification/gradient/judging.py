"""The verdict on one leaf: right, wrong, or that it cannot be judged, and why.

Wrong is the rare word. It takes several directions, at every step that could show it, here and once more
beside the parameters, and a gradient that no `stop_gradient` explains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradscope.records import Verdict
from gradscope.verification.gradient.finite_difference import Floats
from gradscope.verification.gradient.point import Point
from gradscope.verification.gradient.surface import Surface
from gradscope.verification.gradient.trials import Claim, Ladder, Outcome, Trial, run_trial

FINE = 1e-10
"""Relative spacing of numbers below which steps pass between the jumps of a quantizer, and above which
directions are looked for along which the loss moves most."""
MORE = 5
"""Directions, where the first ones do not settle it."""
NEGLIGIBLE = 1e-4
"""Of the largest gradient of any leaf, per relative change of the leaf: rounding dust of a bias before a
normalization is 1e-7 of it, and differences in float32 see 1e-5."""


@dataclass(frozen=True)
class Finding:
    """What the trials at one point say together."""

    verdict: Verdict
    trials: tuple[Trial, ...]
    beside: bool = False
    """Judged beside the parameters."""
    aligned: bool = False
    """Judged along the gradient itself, where it stands out from the noise most."""

    @property
    def worst(self) -> Trial:
        """Of the trials that the verdict rests on, the one that disagrees most against its uncertainty."""
        speaks = {Verdict.RIGHT: Outcome.AGREES, Verdict.WRONG: Outcome.DIFFERS}.get(self.verdict)
        heard = [trial for trial in self.trials if trial.outcome is speaks] or self.trials
        return max(heard, key=lambda trial: trial.strain if np.isfinite(trial.strain) else -1.0)


class Judge:
    """Judges leaf after leaf at one point."""

    def __init__(self, surface: Surface, point: Point, largest: float, directions: int) -> None:
        """`largest`: the largest gradient of any leaf, times the scale of the leaf."""
        self._surface = surface
        self.here = point
        self._largest = largest
        self._directions = directions
        self._beside: Point | None = None

    @property
    def beside(self) -> Point:
        if self._beside is None:
            self._beside = self.here.beside()
        return self._beside

    def leaf(self, leaf: int) -> Finding:
        """The verdict at the parameters, or beside them where they stand on a kink."""
        found = self._confirmed(leaf, self._at)
        if found.verdict is Verdict.CANNOT_JUDGE and self.here.spacing > FINE:
            aligned = self._confirmed(leaf, self._aligned)
            return found if aligned.verdict is Verdict.CANNOT_JUDGE else aligned
        return found

    def _confirmed(self, leaf: int, look: Callable[[Point, int, Floats], Finding]) -> Finding:
        """What is not right here is looked at once more beside the parameters: wrong is wrong at both."""
        found = look(self.here, leaf, self.here.gradient(leaf))
        if found.verdict is Verdict.RIGHT:
            return found
        near = replace(look(self.beside, leaf, self.beside.gradient(leaf)), beside=True)
        if near.verdict is found.verdict:
            return found
        return replace(found, verdict=Verdict.CANNOT_JUDGE) if found.verdict is Verdict.WRONG else near

    def against(self, leaf: int, gradient: Floats) -> Finding:
        """The verdict on a gradient that somebody else gives."""
        return self._at(self.here, leaf, gradient)

    def element(self, leaf: int, index: int) -> Trial:
        """One element by itself."""
        trial = self._element(self.here, leaf, index)
        if trial.outcome is Outcome.AGREES:
            return trial
        near = self._element(self.beside, leaf, index)
        return near if near.outcome is not Outcome.DIFFERS else trial

    def _element(self, point: Point, leaf: int, index: int) -> Trial:
        direction = np.zeros(point.gradient(leaf).size)
        direction[index] = 1.0
        return self._trial(point, leaf, point.gradient(leaf), direction)

    def _at(self, point: Point, leaf: int, gradient: Floats) -> Finding:
        trials: list[Trial] = []
        for direction in _random(gradient.size, max(self._directions, MORE), (point.seed, leaf)):
            trials.append(self._trial(point, leaf, gradient, direction))
            if len(trials) >= self._directions and all(t.outcome is Outcome.AGREES for t in trials):
                break
        return Finding(_together(trials, point.deterministic), tuple(trials))

    def _aligned(self, point: Point, leaf: int, gradient: Floats) -> Finding:
        """Along the gradient itself, with random weights: what it claims adds up there, noise does not."""
        if not gradient.any():
            return self._at(point, leaf, gradient)
        trials = []
        for weights in _random(gradient.size, MORE, (point.seed, leaf, 1)):
            direction = gradient * np.abs(weights)
            direction *= gradient.size**0.5 / np.linalg.norm(direction)
            trials.append(self._trial(point, leaf, gradient, direction))
        return Finding(_together(trials, point.deterministic), tuple(trials), aligned=True)

    def _trial(self, point: Point, leaf: int, gradient: Floats, direction: Floats) -> Trial:
        shape = np.shape(point.weights[leaf])

        def losses(steps: Floats) -> tuple[Floats, Floats]:
            found = self._surface.along(point.weights, {leaf: direction.reshape(shape)}, [*steps, *-steps])
            return found[: steps.size], found[steps.size :]

        unit, wobble = point.unit(leaf), point.wobble(leaf)
        off = direction * wobble
        claim = Claim(
            analytic=float(gradient @ direction),
            wobble=float(np.linalg.norm(off)),
            size=float(np.linalg.norm(gradient * direction)),
            negligible=NEGLIGIBLE * self._largest / unit,
        )
        return run_trial(claim, Ladder(unit, point.spacing), losses, point.loss, point.noise)


def _random(size: int, count: int, seed: Sequence[int]) -> Iterator[Floats]:
    """Directions of rms one: a leaf of one element has its two ends."""
    rng = np.random.default_rng((*seed, 7))
    for _ in range(count):
        direction = rng.standard_normal(size)
        yield direction * (size**0.5 / np.linalg.norm(direction))


def _together(trials: Sequence[Trial], deterministic: bool) -> Verdict:
    agree, differ = (sum(t.outcome is o for t in trials) for o in (Outcome.AGREES, Outcome.DIFFERS))
    if not differ and 2 * agree > len(trials):
        return Verdict.RIGHT
    # Of random directions few are so nearly at right angles to an error that it does not show.
    if deterministic and differ >= 2 and differ > 2 * agree and 2 * differ > len(trials):
        return Verdict.WRONG
    return Verdict.CANNOT_JUDGE

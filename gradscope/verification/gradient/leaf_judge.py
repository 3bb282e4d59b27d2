"""The verdict on one leaf: right, wrong, or that it cannot be judged, and why.

Wrong is rare. It takes several directions, at every step that could show the error, at the parameters and at
a point 1 % away, and a gradient that no `stop_gradient` explains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradscope.records import Verdict
from gradscope.verification.gradient.direction_tests import (
    Agreement,
    BackpropDerivative,
    DirectionTest,
    StepSizes,
    run_test,
)
from gradscope.verification.gradient.finite_difference import Floats
from gradscope.verification.gradient.point import Point
from gradscope.verification.gradient.surface import Surface

FINE_SPACING = 1e-10
"""Relative spacing of numbers below which steps pass between the jumps of a quantizer, and above which
directions are looked for along which the loss moves most."""
COARSE_STEPS = (1e-3, 1e-2, 1e-1)
"""Relative to the scale of the leaf: far beyond the steps of a derivative."""
NOISE_MARGIN = 8.0
"""A change of the loss that is so many times its noise is none of it."""
MAX_DIRECTIONS = 5
"""Directions, where the first ones do not settle it."""
NEGLIGIBLE = 1e-4
"""Of the largest gradient of any leaf, per relative change of the leaf. Rounding leaves 1e-7 of it to a bias
before a normalization, and differences in float32 resolve 1e-5."""


@dataclass(frozen=True)
class LeafJudgement:
    """The verdict that all tests at one point give together."""

    verdict: Verdict
    tests: tuple[DirectionTest, ...]
    nearby: bool = False
    """The tests ran at a point 1 % away from the parameters."""
    aligned: bool = False
    """The tests ran along the gradient itself, where it exceeds the noise most."""

    @property
    def worst(self) -> DirectionTest:
        """Of the tests that decide the verdict, the one with the largest error for its uncertainty."""
        deciding = {Verdict.RIGHT: Agreement.AGREES, Verdict.WRONG: Agreement.DIFFERS}.get(self.verdict)
        decisive = [test for test in self.tests if test.agreement is deciding] or self.tests
        return max(
            decisive, key=lambda test: test.normalized_error if np.isfinite(test.normalized_error) else -1.0
        )


class LeafJudge:
    """Judges leaf after leaf at one point."""

    def __init__(self, surface: Surface, point: Point, largest: float, directions: int) -> None:
        """`largest`: the largest gradient of any leaf, times the scale of the leaf."""
        self._surface = surface
        self.here = point
        self._largest = largest
        self._directions = directions
        self._nearby: Point | None = None

    @property
    def nearby(self) -> Point:
        if self._nearby is None:
            self._nearby = self.here.nearby()
        return self._nearby

    def leaf(self, leaf: int) -> LeafJudgement:
        """The verdict at the parameters, or at a point 1 % away where the parameters sit on a kink."""
        found = self._confirmed(leaf, self._at)
        if found.verdict is Verdict.CANNOT_JUDGE and self.here.spacing > FINE_SPACING:
            aligned = self._confirmed(leaf, self._aligned)
            return found if aligned.verdict is Verdict.CANNOT_JUDGE else aligned
        return found

    def _confirmed(self, leaf: int, look: Callable[[Point, int, Floats], LeafJudgement]) -> LeafJudgement:
        """What is not right at the parameters is tested again at a point 1 % away: wrong is wrong at both."""
        found = look(self.here, leaf, self.here.gradient(leaf))
        if found.verdict is Verdict.RIGHT:
            return found
        near = replace(look(self.nearby, leaf, self.nearby.gradient(leaf)), nearby=True)
        if near.verdict is found.verdict:
            return found
        return replace(found, verdict=Verdict.CANNOT_JUDGE) if found.verdict is Verdict.WRONG else near

    def first_move(self, leaf: int) -> tuple[float, float] | None:
        """The smallest step, relative to the scale of the leaf, at which the loss changes, and by how much.

        Asked of a leaf with a gradient of zero: steps as fine as those of a derivative may lie between the
        jumps of a function that decides by comparisons.
        """
        point = self.here
        direction = next(_random(point.gradient(leaf).size, 1, (point.seed, leaf, 2)))
        moved = {leaf: direction.reshape(np.shape(point.weights[leaf])) * point.scale(leaf)}
        found = self._surface.along(point.weights, moved, [*COARSE_STEPS, *(-step for step in COARSE_STEPS)])
        changes = np.abs(found - point.loss).reshape(2, -1).max(axis=0)
        beyond = np.flatnonzero(np.isfinite(changes) & (changes > NOISE_MARGIN * point.noise))
        return (COARSE_STEPS[beyond[0]], float(changes[beyond[0]])) if beyond.size else None

    def judge_gradient(self, leaf: int, gradient: Floats) -> LeafJudgement:
        """The verdict on another gradient of this leaf, in the shape of the leaf's elements in a row."""
        return self._at(self.here, leaf, gradient)

    def element(self, leaf: int, index: int) -> DirectionTest:
        """The test of one element by itself."""
        test = self._element(self.here, leaf, index)
        if test.agreement is Agreement.AGREES:
            return test
        near = self._element(self.nearby, leaf, index)
        return near if near.agreement is not Agreement.DIFFERS else test

    def _element(self, point: Point, leaf: int, index: int) -> DirectionTest:
        direction = np.zeros(point.gradient(leaf).size)
        direction[index] = 1.0
        return self._test(point, leaf, point.gradient(leaf), direction)

    def _at(self, point: Point, leaf: int, gradient: Floats) -> LeafJudgement:
        tests: list[DirectionTest] = []
        for direction in _random(gradient.size, max(self._directions, MAX_DIRECTIONS), (point.seed, leaf)):
            tests.append(self._test(point, leaf, gradient, direction))
            if len(tests) >= self._directions and all(t.agreement is Agreement.AGREES for t in tests):
                break
        return LeafJudgement(_combined(tests, point.deterministic), tuple(tests))

    def _aligned(self, point: Point, leaf: int, gradient: Floats) -> LeafJudgement:
        """Along the gradient itself, with random weights: its elements add up there, noise does not."""
        if not gradient.any():
            return self._at(point, leaf, gradient)
        tests = []
        for weights in _random(gradient.size, MAX_DIRECTIONS, (point.seed, leaf, 1)):
            direction = gradient * np.abs(weights)
            direction *= gradient.size**0.5 / np.linalg.norm(direction)
            tests.append(self._test(point, leaf, gradient, direction))
        return LeafJudgement(_combined(tests, point.deterministic), tuple(tests), aligned=True)

    def _test(self, point: Point, leaf: int, gradient: Floats, direction: Floats) -> DirectionTest:
        shape = np.shape(point.weights[leaf])

        def losses(steps: Floats) -> tuple[Floats, Floats]:
            found = self._surface.along(point.weights, {leaf: direction.reshape(shape)}, [*steps, *-steps])
            return found[: steps.size], found[steps.size :]

        scale, gradient_rounding = point.scale(leaf), point.gradient_rounding(leaf)
        off = direction * gradient_rounding
        backprop = BackpropDerivative(
            value=float(gradient @ direction),
            gradient_rounding=float(np.linalg.norm(off)),
            size=float(np.linalg.norm(gradient * direction)),
            negligible=NEGLIGIBLE * self._largest / scale,
        )
        return run_test(backprop, StepSizes(scale, point.spacing), losses, point.loss, point.noise)


def _random(size: int, count: int, seed: Sequence[int]) -> Iterator[Floats]:
    """Directions of rms one: a leaf of one element has its two ends."""
    rng = np.random.default_rng((*seed, 7))
    for _ in range(count):
        direction = rng.standard_normal(size)
        yield direction * (size**0.5 / np.linalg.norm(direction))


def _combined(tests: Sequence[DirectionTest], deterministic: bool) -> Verdict:
    agree, differ = (sum(t.agreement is o for t in tests) for o in (Agreement.AGREES, Agreement.DIFFERS))
    if not differ and 2 * agree > len(tests):
        return Verdict.RIGHT
    # Of random directions few are so nearly at right angles to an error that it does not show.
    if deterministic and differ >= 2 and differ > 2 * agree and 2 * differ > len(tests):
        return Verdict.WRONG
    return Verdict.CANNOT_JUDGE

"""A point of the parameter space: the loss there, its gradient, and how much of both is noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradscope.verification.gradient.finite_difference import Floats
from gradscope.verification.gradient.surface import POINTS, Surface, Weights

PROBES = 4
"""Lines along which the noise of the loss is measured: twelve third differences in all."""
_THIRD = np.array([-1.0, 3.0, -3.0, 1.0])
_THIRD_GAIN = 20.0
"""Variance of a third difference over that of one value."""
ROUNDING_STEP = 4
"""Units in the last place by which the parameters move where the rounding of a gradient is measured."""
CHAOTIC = 1e6
"""Growth of such a change in the gradient beyond which neither differences nor another order of the same sums
is compared with it: in float32 rounding alone would then change the gradient by a quarter."""
NEARBY = 1e-2
"""Distance of the nearby point, relative to the scale of each leaf."""


@dataclass(eq=False)
class Point:
    """`spacing` is the relative distance of neighbouring numbers in the coarsest dtype of the computation."""

    surface: Surface
    weights: Weights
    spacing: float
    seed: int
    neighbour: Point | None = None
    """The parameters, where this is the point near them: scales are read there."""

    @cached_property
    def _evaluated(self) -> tuple[float, list[Any]]:
        return self.surface.gradient(self.weights)

    def gradient(self, leaf: int) -> Floats:
        return np.asarray(self._evaluated[1][leaf], np.float64).ravel()

    @cached_property
    def loss(self) -> float:
        """As the program that evaluates lines gives it, so that differences share its rounding."""
        return float(self._repeated[0][0])

    @cached_property
    def _repeated(self) -> list[Floats]:
        return [self.surface.along(self.weights, {}, [0.0] * POINTS) for _ in range(2)]

    @cached_property
    def spread(self) -> float:
        """Largest difference between evaluations at the same parameters; zero where it is deterministic."""
        found = np.concatenate(self._repeated)
        return float(found.max() - found.min()) if np.isfinite(found).all() else 0.0

    @property
    def deterministic(self) -> bool:
        """Whether repeated evaluations agree, but for sums in another order (threads, an accelerator)."""
        return not self.spread > 64 * self.spacing * abs(self.loss)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the loss between points a few units in the last place apart.

        By third differences along equally spaced points, in which everything smooth cancels (Hamming's
        difference table; Moré and Wild 2011), and never less than half a unit in the last place.
        """
        thirds = []
        for probe in range(PROBES):
            directions = self.directions(probe, 4 * self.spacing)
            found = self.surface.along(self.weights, directions, list(np.arange(POINTS) - POINTS / 2))
            thirds.append(np.convolve(found, _THIRD, mode="valid"))
        measured = float(np.sqrt(np.mean(np.square(thirds)) / _THIRD_GAIN))
        floor = float(np.finfo(np.float64).eps) * abs(self.loss) / 2
        return max(measured, floor, self._own_rounding(), self.spread)

    def _own_rounding(self) -> float:
        """Half the spacing of the dtype in which the loss is returned: neighbouring values round to one."""
        return self.surface.loss_spacing * abs(self.loss) / 2

    @cached_property
    def _perturbed_gradients(self) -> list[Any]:
        moved = self.surface.moved(self.weights, self.directions(PROBES, ROUNDING_STEP * self.spacing))
        return self.surface.gradient(moved)[1]

    def gradient_rounding(self, leaf: int) -> Floats:
        """The rounding error of the gradient: its change under a step of a few units in the last place."""
        with np.errstate(invalid="ignore"):
            return np.abs(
                np.asarray(self._perturbed_gradients[leaf], np.float64).ravel() - self.gradient(leaf)
            )

    def amplification(self, leaf: int) -> float:
        """By how much a relative change of the parameters has grown in the gradient of the leaf."""
        size = float(np.linalg.norm(self.gradient(leaf)))
        changed = float(np.linalg.norm(self.gradient_rounding(leaf)))
        return changed / size / (ROUNDING_STEP * self.spacing) if size else 0.0

    def scale(self, leaf: int) -> float:
        """The rms of the leaf [units of the parameter]; 1 for a leaf of zeros, as an untrained bias."""
        if self.neighbour is not None:
            return self.neighbour.scale(leaf)
        values = np.asarray(self.weights[leaf], np.float64)
        rms = float(np.linalg.norm(values)) / max(values.size, 1) ** 0.5
        return rms if rms > 0 and np.isfinite(rms) else 1.0

    def directions(self, stream: int, size: float) -> dict[int, Floats]:
        """Random for every leaf, `size` in units of each leaf's scale."""
        rng = np.random.default_rng((self.seed, stream))
        return {
            leaf: rng.standard_normal(np.shape(weight)) * (size * self.scale(leaf))
            for leaf, weight in enumerate(self.weights)
        }

    def nearby(self) -> Point:
        """A random point 1 % away: no unit sits exactly on its kink there."""
        moved = self.surface.moved(self.weights, self.directions(PROBES + 1, NEARBY))
        return Point(self.surface, moved, self.spacing, self.seed, self)

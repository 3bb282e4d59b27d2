"""Statistics that keep the units of a layer apart, and the share of elements beyond a bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jax import Array, lax

from gradscope.trace.statistics import Axes, Floats, Operand, Rms, Statistic


class OfUnits(Statistic):
    """Keeps the units of a layer apart: the channels of a convolution, the columns of a matrix."""

    def own_axes(self, rank: int, units: Axes) -> Axes:
        del rank
        return units

    def read(self, total: Floats, count: float) -> Any:
        return total


class Highest(OfUnits):
    """Largest value of each unit, with its sign."""

    name = "highest"
    zero = -math.inf

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_max(lax.convert_element_type(x.value, x.dtype), over)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.max(axes, initial=self.zero))


class Lowest(OfUnits):
    """Smallest value of each unit, with its sign."""

    name = "lowest"
    zero = math.inf

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_min(lax.convert_element_type(x.value, x.dtype), over)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.min(axes, initial=self.zero))


class Sum(OfUnits):
    """Sum over each unit."""

    name = "sum"
    additive = True

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_sum(lax.convert_element_type(x.value, x.dtype), over)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.sum(axes), np.float64)


class Squares(OfUnits, Rms):
    """Root of the sum of squares over each unit."""

    name = "squares"


class Beyond(Statistic):
    """Share of the elements whose absolute value exceeds `bound`, in [0, 1]."""

    zero = 0.0
    additive = True

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.name = f"beyond_{bound:g}"  # type: ignore[misc]

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_sum(lax.convert_element_type(lax.gt(x.size, x.dtype(self.bound)), x.dtype), over)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.sum(axes), np.float64)

    def read(self, total: Floats, count: float) -> float:
        return float(total) / count if count else 0.0


HIGHEST, LOWEST, SUM, SQUARES = Highest(), Lowest(), Sum(), Squares()

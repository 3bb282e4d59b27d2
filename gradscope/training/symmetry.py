"""Units that start equal, get equal gradients and stay equal: a layer of them is no more than one unit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.trace.spread import in_reach
from gradscope.training.optimizer import widened


def equal_units(before: Any, after: Any, gradient: Any) -> int:
    """How many units a weight holds that are equal to each other before and after some steps; 0 where they
    are not.

    Units stand along the last axis, or in a matrix along either. Weights that were not moved tell nothing.
    """
    here = in_reach([before, after, gradient])
    if not here and jax.default_backend() != "cpu":
        return 0  # each of these looks would be a program that an accelerator compiles
    xp: Any = np if here else jnp
    start, end = xp.asarray(before), xp.asarray(after)
    if start.ndim < 2 or start.size < 2:
        return 0
    for axis in (start.ndim - 1, 0) if start.ndim == 2 else (start.ndim - 1,):
        if start.shape[axis] < 2 or not (_alike(start, axis, xp) and _alike(end, axis, xp)):
            continue
        slope = np.asarray(gradient).astype(np.float64) if here else widened(gradient)
        one = xp.take(slope, np.array([0]), axis)
        if xp.any(slope) and xp.allclose(slope, one, rtol=1e-4, atol=0) and not xp.array_equal(start, end):
            return int(start.shape[axis])
    return 0


def _alike(array: Any, axis: int, xp: Any) -> bool:
    """Whether all slices along an axis are the same; two are looked at first."""
    first, second = (xp.take(array, index, axis) for index in (0, 1))
    return bool(xp.array_equal(first, second)) and bool(xp.all(array == xp.take(array, np.array([0]), axis)))

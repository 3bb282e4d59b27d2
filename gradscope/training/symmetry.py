"""Units that start equal, get equal gradients and stay equal: a layer of them is no more than one unit."""

from __future__ import annotations

from typing import Any

import numpy as np


def equal_units(before: Any, after: Any, gradient: Any) -> int:
    """How many units a weight holds that are equal to each other before and after some steps; 0 where they
    are not.

    Units stand along the last axis, or in a matrix along either. Weights that were not moved tell nothing.
    """
    start, end = np.asarray(before), np.asarray(after)
    if start.ndim < 2 or start.size < 2:
        return 0
    for axis in (start.ndim - 1, 0) if start.ndim == 2 else (start.ndim - 1,):
        if start.shape[axis] < 2 or not (_alike(start, axis) and _alike(end, axis)):
            continue
        slope = np.asarray(gradient).astype(np.float64)
        one = np.take(slope, [0], axis)
        if np.any(slope) and np.allclose(slope, one, rtol=1e-4, atol=0) and not np.array_equal(start, end):
            return int(start.shape[axis])
    return 0


def _alike(array: Any, axis: int) -> bool:
    """Whether all slices along an axis are the same; two are looked at first."""
    first, second = (np.take(array, index, axis) for index in (0, 1))
    return bool(np.array_equal(first, second)) and bool(np.all(array == np.take(array, [0], axis)))

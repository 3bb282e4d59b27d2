"""Units that start equal, get equal gradients and stay equal: a layer of them is no more than one unit."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.trace.spread import spread
from gradscope.training.optimizer import widened


def equal_units(before: Any, after: Any, gradient: Any) -> int:
    """How many units a weight holds that are equal to each other before and after some steps; 0 where they
    are not.

    Units stand along the last axis, or in a matrix along either. Weights that were not moved tell nothing.
    """
    here = not spread([before, after, gradient])
    if here and not _may_be(before):
        return 0
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


def _may_be(array: Any) -> bool:
    """Whether the first two slices along an axis are the same: of an array on an accelerator no more than
    these are copied first."""
    if np.ndim(array) < 2 or np.size(array) < 2:
        return False
    last = np.asarray(array[..., :2])
    pairs = [(last[..., 0], last[..., -1])]
    if np.ndim(array) == 2:
        first = np.asarray(array[:2])
        pairs.append((first[0], first[-1]))
    return any(np.array_equal(one, other) for one, other in pairs)


def _alike(array: Any, axis: int, xp: Any) -> bool:
    """Whether all slices along an axis are the same; two are looked at first."""
    first, second = (xp.take(array, index, axis) for index in (0, 1))
    return bool(xp.array_equal(first, second)) and bool(xp.all(array == xp.take(array, np.array([0]), axis)))

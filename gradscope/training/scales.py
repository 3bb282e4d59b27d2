"""Arrays of a batch whose numbers are far from mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records.training import LARGE, OFF_CENTER, SMALL, UNEVEN
from gradscope.trace.domains.uses import arrays_of, uses_of
from gradscope.trace.program import Inputs, Program

FEWEST_VALUES = 3
"""Different numbers: an array of two is a mask or a flag."""
ALIKE = 10.0
"""Largest over smallest standard deviation along an axis that holds no features of their own."""
PROBED = 10_000
MOST_ELEMENTS = 2**22
"""Of the first rows, from which mean and standard deviation are taken."""


@dataclass(frozen=True)
class OddArray:
    """A float array of the batch, and what standardizes it."""

    name: str
    place: int
    """Among the arguments of the program that are no weights."""
    is_input: bool
    """It is multiplied by weights; otherwise it is a target, from which outputs are subtracted."""
    mean: Any
    std: Any
    """Broadcast against the array; by feature for two axes, and where one axis alone holds features, else of
    all elements."""
    rms: float
    off_center: float
    uneven: float

    def standardized(self, value: Any) -> Any:
        return ((jnp.asarray(value) - self.mean) / self.std).astype(jnp.result_type(value))


def odd_arrays(program: Program, batch: Any, inputs: Inputs) -> Iterator[OddArray]:
    """Those of a batch, of which the inputs were made."""
    leaves = jax.tree.leaves(batch)
    for array in arrays_of(batch, inputs):
        value = leaves[array.index]
        floating = jnp.issubdtype(jnp.result_type(value), jnp.floating)
        if not floating or np.size(value) < 2 or not np.ndim(value):
            continue
        rows = max(2, MOST_ELEMENTS * np.shape(value)[0] // np.size(value))
        found = np.asarray(value[:rows], np.float64)
        if not np.isfinite(found).all() or np.unique(found.ravel()[:PROBED]).size < FEWEST_VALUES:
            continue
        odd = _odd(array.name, array.place, found, program)
        if odd is not None:
            yield odd


def _odd(name: str, place: int, found: Any, program: Program) -> OddArray | None:
    features = _feature_axis(found)
    axes = None if features is None else tuple(axis for axis in range(found.ndim) if axis != features)
    keep = features not in (None, found.ndim - 1)
    mean, std = found.mean(axis=axes, keepdims=keep), found.std(axis=axes, keepdims=keep)
    spread = np.where(std > 1e-6 * (np.abs(mean) + std), std, 0.0)
    moving = spread[spread > 0]
    rms = float(np.sqrt(np.mean(found**2)))
    off_center = float(np.max(np.abs(mean)[spread > 0] / moving, initial=0.0))
    uneven = float(moving.max() / moving.min()) if moving.size else 1.0
    if SMALL <= rms <= LARGE and off_center <= OFF_CENTER and uneven <= UNEVEN:
        return None
    uses = uses_of(program, place)
    if uses.is_input == uses.is_target:
        return None
    usable = np.where(spread > 0, spread, 1.0)
    return OddArray(name, place, uses.is_input, mean, usable, rms, off_center, uneven)


def _feature_axis(found: Any) -> int | None:
    """The last of two axes. Of more, the one along which standard deviations are `UNEVEN` where those along
    all others are alike: the columns of time windows, and not the places of an image."""
    if found.ndim < 3:
        return 1 if found.ndim == 2 else None
    ratios = [_unevenness(found, axis) for axis in range(1, found.ndim)]
    uneven = [axis for axis, ratio in enumerate(ratios, 1) if ratio > UNEVEN]
    return uneven[0] if len(uneven) == 1 and sorted(ratios)[-2] <= ALIKE else None


def _unevenness(found: Any, axis: int) -> float:
    """Largest over smallest standard deviation of what lies at each place of an axis; constants left out."""
    others = tuple(each for each in range(found.ndim) if each != axis)
    std, mean = found.std(axis=others), np.abs(found.mean(axis=others))
    moving = std[std > 1e-6 * (mean + std)]
    return float(moving.max() / moving.min()) if moving.size > 1 else 1.0

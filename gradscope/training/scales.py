"""Arrays of a batch whose numbers are far from mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import FillValue
from gradscope.records.training import LARGE, OFF_CENTER, SMALL, UNEVEN
from gradscope.trace.domains.uses import arrays_of, uses_of
from gradscope.trace.program import Inputs, Program
from gradscope.training.fill_values import fill_values

FEWEST_VALUES = 3
"""Different numbers: an array of two is a mask or a flag."""
ALIKE = 10.0
"""Largest over smallest standard deviation along an axis that holds no features of their own."""
PROBED = 10_000
MOST_ELEMENTS = 2**22
"""Of the first rows, from which mean and standard deviation are taken."""
MOST_SORTED = 2**20
"""Elements of all batches together, among which numbers are looked for that stand for missing ones."""


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
    features: int | None
    """The axis of its columns."""
    fills: tuple[FillValue, ...]
    """Of an input."""

    def standardized(self, value: Any) -> Any:
        kept = _filled(jnp, jnp.asarray(value), self.features, self.fills)
        return ((kept - self.mean) / self.std).astype(jnp.result_type(value))


def odd_arrays(program: Program, batches: Sequence[Any], inputs: Inputs) -> Iterator[OddArray]:
    """Those of the first of some batches, of which the inputs were made."""
    leaves = jax.tree.leaves(batches[0])
    for array in arrays_of(batches[0], inputs):
        value = leaves[array.index]
        floating = jnp.issubdtype(jnp.result_type(value), jnp.floating)
        if not floating or np.size(value) < 2 or not np.ndim(value):
            continue
        rows = max(2, MOST_ELEMENTS * np.shape(value)[0] // np.size(value))
        found = np.asarray(value[:rows], np.float64)
        if not np.isfinite(found).all() or np.unique(found.ravel()[:PROBED]).size < FEWEST_VALUES:
            continue
        few = max(1, rows * MOST_SORTED // (MOST_ELEMENTS * len(batches)))
        every = np.concatenate([jax.tree.leaves(batch)[array.index][:few] for batch in batches])
        odd = _odd(array.name, array.place, found, every.astype(np.float64), program)
        if odd is not None:
            yield odd


def _odd(name: str, place: int, found: Any, every: Any, program: Program) -> OddArray | None:
    features = _feature_axis(found)
    uses = uses_of(program, place)
    if uses.is_input == uses.is_target:
        return None
    fills = fill_values(every, features) if uses.is_input else ()
    rms, off_center, uneven = _of_scale(found, features)[2:]
    if not fills and SMALL <= rms <= LARGE and off_center <= OFF_CENTER and uneven <= UNEVEN:
        return None
    mean, std = _of_scale(_filled(np, found, features, fills), features)[:2]
    return OddArray(name, place, uses.is_input, mean, std, rms, off_center, uneven, features, fills)


def _of_scale(found: Any, features: int | None) -> tuple[Any, Any, float, float, float]:
    """Mean and standard deviation, and what is odd about them."""
    axes = None if features is None else tuple(axis for axis in range(found.ndim) if axis != features)
    keep = features not in (None, found.ndim - 1)
    mean, std = found.mean(axis=axes, keepdims=keep), found.std(axis=axes, keepdims=keep)
    spread = np.where(std > 1e-6 * (np.abs(mean) + std), std, 0.0)
    moving = spread[spread > 0]
    rms = float(np.sqrt(np.mean(found**2)))
    off_center = float(np.max(np.abs(mean)[spread > 0] / moving, initial=0.0))
    uneven = float(moving.max() / moving.min()) if moving.size else 1.0
    return mean, np.where(spread > 0, spread, 1.0), rms, off_center, uneven


def _filled(xp: Any, value: Any, features: int | None, fills: Sequence[FillValue]) -> Any:
    """With the median of the others where a number stands for a missing one."""
    for fill in fills:
        here = value == xp.asarray(fill.value, value.dtype)
        if features is not None:
            number = xp.arange(value.shape[features])
            one = number.reshape([-1 if axis == features else 1 for axis in range(value.ndim)])
            here = here & (one == fill.feature)
        value = xp.where(here, xp.asarray(fill.median, value.dtype), value)
    return value


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

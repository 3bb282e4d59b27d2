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
    """Broadcast against the array; by feature (last axis) for two axes, else of all elements."""
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
    axes = 0 if found.ndim == 2 else None
    mean, std = found.mean(axis=axes), found.std(axis=axes)
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

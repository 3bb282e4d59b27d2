"""Leaves of the params that hold the same random numbers: a PRNG key that was used twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.records import Connection
from gradscope.trace.program import Program
from gradscope.trace.spread import in_reach

PROBED = 64
"""Elements that are compared first."""
FEWEST = 8
"""Elements of a leaf: fewer may be equal by chance or by design."""
FEWEST_NUMBERS = 64
"""Different ones among random numbers; in a smaller leaf half of its elements."""
SMOOTH = 0.5
"""Mean square of neighbours' differences over the variance: 2 for random numbers, whatever their distribution
(von Neumann 1941), with a deviation of 0.6 for eight of them."""


def copied_leaves(program: Program, weights: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    """Names of connected leaves that are equal bit for bit and hold random numbers, group by group.

    One array that stands in the params twice is tied on purpose; a table that was computed (decays from slow
    to fast, positions) is the same in each layer by design.
    """
    kinds: dict[Any, list[int]] = {}
    for leaf, weight in enumerate(weights):
        if program.connections[leaf] is not Connection.CONNECTED or program.leaves[leaf].size < FEWEST:
            continue
        first = _first_elements(weight)
        whole = np.asarray(weight) if in_reach([weight]) else weight
        if np.any(first != first[0]) or bool((whole != first[0]).any()):
            kinds.setdefault((np.shape(weight), str(weight.dtype), first.tobytes()), []).append(leaf)
    found = []
    for leaves in kinds.values():
        while len(leaves) > 1:
            first = leaves[0]
            mine = [other for other in leaves if other == first or _copied(weights[first], weights[other])]
            if len(mine) > 1 and looks_drawn(np.asarray(weights[first])):
                found.append(tuple(program.leaves[leaf].name for leaf in mine))
            leaves = [leaf for leaf in leaves if leaf not in mine]
    return tuple(found)


def _first_elements(weight: Any) -> Any:
    """On the host; an array on a device is not copied for them."""
    array = weight if isinstance(weight, np.ndarray) else weight.ravel()[:PROBED]
    return np.asarray(array).ravel()[:PROBED]


def _copied(one: Any, other: Any) -> bool:
    return one is not other and bool(np.array_equal(np.asarray(one), np.asarray(other)))


def looks_drawn(weight: Any) -> bool:
    """Not computed: many numbers that differ, and along no axis close to their neighbours."""
    wide = np.asarray(weight, np.complex128 if np.iscomplexobj(weight) else np.float64)
    if np.unique(wide).size < min(FEWEST_NUMBERS, wide.size / 2):
        return False
    variance = np.mean(np.abs(wide - wide.mean()) ** 2)
    apart = (np.abs(np.diff(wide, axis=axis)) ** 2 for axis in range(wide.ndim) if wide.shape[axis] > 3)
    return all(each.mean() >= SMOOTH * variance for each in apart)

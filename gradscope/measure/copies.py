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


def copied_leaves(program: Program, weights: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    """Names of connected leaves that are equal bit for bit and hold different numbers, group by group.

    One array that stands in the params twice is tied on purpose.
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
            if len(mine) > 1:
                found.append(tuple(program.leaves[leaf].name for leaf in mine))
            leaves = [leaf for leaf in leaves if leaf not in mine]
    return tuple(found)


def _first_elements(weight: Any) -> Any:
    """On the host; an array on a device is not copied for them."""
    array = weight if isinstance(weight, np.ndarray) else weight.ravel()[:PROBED]
    return np.asarray(array).ravel()[:PROBED]


def _copied(one: Any, other: Any) -> bool:
    return one is not other and bool(np.array_equal(np.asarray(one), np.asarray(other)))

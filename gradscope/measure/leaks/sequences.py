"""Arrays of the batch that hold sequences: which one is another one shifted, and other values for a part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

NdArray = np.ndarray[Any, Any]

SHORTEST = 5
"""Positions along a sequence."""
FEWEST_VALUES = 4
CERTAIN = 64.0
"""Bits that a match by chance would take."""
MATCHED = 0.5
"""Of labels, where the others are one value that says that they do not count."""


@dataclass(frozen=True)
class Sequences:
    """One array of the batch, or two: the inputs and the targets."""

    inputs: int
    """Position among the inputs of the program."""
    targets: int
    axis: int
    """Along which positions are counted."""
    offset: int = 0
    """Element t of the targets is element t + offset of the inputs."""


def axes_of(array: NdArray) -> list[int]:
    """Axes along which positions may be counted. The first of two of real numbers counts examples, and the
    last of more their features."""
    if array.dtype.kind not in "iuf" or array.ndim == 0:
        return []
    real = array.dtype.kind == "f"
    axes = range(int(real and array.ndim == 2), array.ndim - int(real and array.ndim > 2))
    single = real and array.ndim == 1
    return [] if single else [axis for axis in axes if array.shape[axis] >= SHORTEST]


def shifted(x: NdArray, y: NdArray) -> Iterator[tuple[int, int]]:
    """Axes and offsets at which `y` is `x` one position later, or the same."""
    if x.shape != y.shape or x.dtype.kind not in "iuf" or (x.dtype.kind == "f") != (y.dtype.kind == "f"):
        return
    # Two columns of examples, whose rows were cut from one text, are no sequence.
    for axis in axes_of(x) if x.ndim > 1 else ():
        a, b = np.moveaxis(x, axis, 0), np.moveaxis(y, axis, 0)
        for offset, before, after in ((1, a[1:], b[:-1]), (0, a, b)):
            if _same(before, after) and (offset == 0 or _is_sure(a, before)):
                yield axis, offset


def _same(x: NdArray, y: NdArray) -> bool:
    other = y[x != y]
    if not other.size:
        return True
    alike = 1 - other.size / y.size
    return y.dtype.kind != "f" and alike >= MATCHED and len(np.unique(other)) == 1


def _is_sure(whole: NdArray, matched: NdArray) -> bool:
    """No accident: many values, and what comes next is no function of what came before."""
    values, counts = np.unique(matched, return_counts=True)
    if len(values) < FEWEST_VALUES:
        return False
    alike = float(np.sum((counts / matched.size) ** 2))
    if matched.size * -math.log2(alike) < CERTAIN:
        return False
    if whole.dtype.kind == "f":
        steps = np.diff(whole.astype(np.float64), axis=0)
        return bool(np.std(steps) > 1e-3 * np.std(whole))
    pairs = np.stack([whole[:-1].ravel(), whole[1:].ravel()])
    return len(np.unique(pairs, axis=1).T) > len(np.unique(pairs[0]))


def rows_axis(array: NdArray, axis: int) -> int | None:
    """The axis that counts the sequences; `None` where there is a single one."""
    if array.ndim == 1:
        return None
    found = 0 if axis else 1
    single = array.dtype.kind == "f" and array.ndim == 2 and axis == 0
    return None if single or array.shape[found] < 2 else found


def padding(array: NdArray, axis: int) -> NdArray:
    """Which elements are fillers: of integers, what a sequence begins or ends with again and again."""
    none = np.zeros(array.shape, bool)
    if array.dtype.kind == "f":
        return none
    along = np.moveaxis(array, axis, 0)
    ends = [along[side][along[side] == along[next_]] for side, next_ in ((-1, -2), (0, 1))]
    fill = np.isin(array, np.unique(np.concatenate([end.ravel() for end in ends])))
    return fill if len(np.unique(array[~fill])) >= FEWEST_VALUES else none


def edited(array: NdArray, where: NdArray, values: NdArray | None = None) -> NdArray:
    """Other elements at all of these places; integers are drawn from `values`, or from all of the array."""
    rng, out = np.random.default_rng(0), array.copy()
    if array.dtype.kind == "f":
        out[where] = rng.permutation(array[where])
        same = where & (out == array)
        out[same] = array[same] + np.asarray(np.std(array.astype(np.float32)) + 0.5, array.dtype)
        return out
    values = np.unique(array) if values is None else values
    if len(values) > 1:
        index = np.searchsorted(values, array[where])
        out[where] = values[(index + rng.integers(1, len(values), index.shape)) % len(values)]
    return out

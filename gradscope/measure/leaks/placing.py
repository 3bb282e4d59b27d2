"""Where the positions of a sequence lie in a value that is computed from it: told by changing some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NdArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Placement:
    """The axes of a value, which may have been flattened, that count positions and sequences."""

    shape: tuple[int, ...]
    """Of the value with its first axis split again where it had been flattened."""
    axis: int
    rows: int | None
    """The axis of the sequences; `None` for a single one."""
    shift: int
    """Element t of the sequence stands at position t + shift."""
    whole: bool
    """Each element that was changed has changed it."""

    def by_position(self, value: NdArray, size: int) -> NdArray:
        """The largest over each position of each sequence: positions first. `value` has at least the first
        `size` axes of what was placed, and others behind them."""
        split = len(self.shape) - size
        array = value.reshape(*self.shape[: 1 + split], *value.shape[1:])
        rows = np.moveaxis(array, self.axis, 0)
        if self.rows is None:
            return _largest(rows.reshape(len(rows), 1, -1))
        second = self.rows + (self.rows < self.axis)
        rows = np.moveaxis(rows, second, 1)
        return _largest(rows.reshape(*rows.shape[:2], -1))

    def spread(self, marks: NdArray, shape: tuple[int, ...], size: int) -> NdArray:
        """Marks by position, for each element of such a value: the reverse of `by_position`."""
        behind = 1 + len(self.shape) - size
        whole = (*self.shape[:behind], *shape[1:])
        thin = [1] * len(whole)
        thin[self.axis] = marks.shape[0]
        if self.rows is not None:
            thin[self.rows] = marks.shape[1]
            marks = marks if self.axis < self.rows else marks.T
        return np.broadcast_to(marks.reshape(thin), whole).reshape(shape)


def place(
    base: NdArray, changed: Sequence[NdArray], edits: Sequence[NdArray], moments: Sequence[int]
) -> Placement | None:
    """`edits[i]` says which elements were changed to get `changed[i]`, as positions x sequences; the first of
    them at `moments[i]`."""
    marks = [_differ(base, each) for each in changed]
    length, rows = edits[0].shape
    for shape in _shapes(base.shape, length, rows):
        split = [mark.reshape(shape) for mark in marks]
        for axis in range(len(shape)):
            first = [_first(mark, axis) for mark in split]
            shifts = {None if a is None else a - m for a, m in zip(first, moments, strict=True)}
            if len(shifts) == 1 and None not in shifts:
                (shift,) = shifts
                assert shift is not None
                found = _placement(split, axis, shift, edits)
                if found is not None:
                    return found
    return None


def _placement(marks: Sequence[NdArray], axis: int, shift: int, edits: Sequence[NdArray]) -> Placement | None:
    shape, (length, rows) = marks[0].shape, edits[0].shape
    row_axis = None
    if rows > 1:
        edited = np.logical_or.reduce(edits).any(0)
        along = [a for a in range(len(shape)) if a != axis and shape[a] == rows]
        seen = {a: np.logical_or.reduce([_along(mark, a) for mark in marks]) for a in along}
        row_axis = next((a for a in along if seen[a].any() and not (seen[a] & ~edited).any()), None)
        if row_axis is None:
            return None
    found = Placement(shape, axis, row_axis, shift, whole=True)
    for mark, edit in zip(marks, edits, strict=True):
        there = found.by_position(mark, len(shape))
        expected = np.zeros_like(there)
        low, high = max(0, shift), min(len(there), length + shift)
        expected[low:high] = edit[low - shift : high - shift]
        if (there & ~expected).any():
            return None
        if (there != expected).any():
            found = Placement(shape, axis, row_axis, shift, whole=False)
    return found


def _shapes(shape: tuple[int, ...], length: int, rows: int) -> Iterator[tuple[int, ...]]:
    yield shape
    if shape and rows > 1:
        for positions in (length, length - 1, length + 1):
            if positions > 1 and shape[0] == rows * positions:
                yield (rows, positions, *shape[1:])
                yield (positions, rows, *shape[1:])


def _along(mark: NdArray, axis: int) -> NdArray:
    return np.asarray(mark.any(tuple(a for a in range(mark.ndim) if a != axis)))


def _first(mark: NdArray, axis: int) -> int | None:
    along = _along(mark, axis)
    return int(np.argmax(along)) if along.any() else None


def _differ(a: NdArray, b: NdArray) -> NdArray:
    return np.asarray((a != b) & ~((a != a) & (b != b)))


def _largest(values: NdArray) -> NdArray:
    """Over the last of three axes."""
    return np.asarray(np.max(values, axis=2, initial=0))

"""Which positions of a batch of sequences are fillers, by the data and by what says so beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradscope.measure.leaks.placing import NdArray
from gradscope.measure.leaks.sequences import SHORTEST

LOOKED_AT = 10_000
"""Elements that tell whether there are more than two values."""


@dataclass(frozen=True)
class Fillers:
    """An array of sequences that were filled up to one length."""

    real: NdArray
    """bool[sequences, positions]"""
    said_by: int | None
    """The array that says so, a mask or lengths; `None` for a mask that the loss computes."""


def runs_of_fillers(array: NdArray) -> Iterator[NdArray]:
    """bool[sequences, positions]: where each sequence ends, or begins, with one value again and again."""
    if array.ndim < 2 or array.dtype.kind not in "iuf" or min(array.shape[:2]) < 2:
        return
    if array.shape[1] < SHORTEST:
        return
    for along in (array, array[:, ::-1]):
        ends = along[:, -1].reshape(len(along), -1)
        rows = along.reshape(*along.shape[:2], -1)
        for value in np.unique(ends[(ends == ends[:, :1]).all(1), 0]):
            same = (rows == value).all(2)
            run = np.logical_and.accumulate(same[:, ::-1], axis=1)[:, ::-1]
            if (run.sum(1) > 1).any() and not run.all(1).any() and _varies(array[~run]):
                yield run if along is array else run[:, ::-1]


def _varies(real: NdArray) -> bool:
    return len(np.unique(real.reshape(-1)[:LOOKED_AT])) > 2


def said(run: NdArray, place: int | None, array: NdArray) -> Fillers | None:
    """Whether an array is a mask, or lengths, that leaves out fillers alone."""
    rows, length = run.shape
    if array.shape == (rows,) and array.dtype.kind in "iu" and (array > 0).all() and (array <= length).all():
        real = np.arange(length) < array[:, None]
        return Fillers(real, place) if _leaves_out(run, real) and (real == ~run).all(1).mean() > 0.5 else None
    mask = np.squeeze(array)
    if mask.shape != run.shape or array.dtype.kind not in "biuf" or not ((mask == 0) | (mask == 1)).all():
        return None
    real = mask.astype(bool)
    return next((Fillers(each, place) for each in (real, ~real) if _leaves_out(run, each)), None)


def tells_of(run: NdArray, array: NdArray) -> bool:
    """Whether another array of the batch says that these are fillers: by lengths, by a mask that is 0 there
    alone, or since it, too, repeats one value there. One that is 1 there alone may choose them on purpose."""
    known = said(run, None, array)
    if known is not None and (array.ndim == 1 or ((np.squeeze(array) != 0) == known.real).all()):
        return True
    if array.ndim < 2 or array.shape[:2] != run.shape:
        return False
    inner = run & np.pad(run, ((0, 0), (1, 0)))[:, :-1]
    return any(_repeats(array[each], array[~run]) for each in (run, inner) if each.any())


def _repeats(there: NdArray, elsewhere: NdArray) -> bool:
    return bool((there == there[0]).all() and _varies(elsewhere))


def of_a_score(mask: NdArray, run: NdArray) -> NdArray | None:
    """A mask for scores of attention, as one for each sequence and position; `None` where it depends on
    anything else, such as the order of positions."""
    if mask.ndim < 3 or mask.shape[0] != run.shape[0]:
        return None
    for axis in range(1, mask.ndim):
        if mask.shape[axis] != run.shape[1]:
            continue
        others = tuple(a for a in range(1, mask.ndim) if a != axis)
        first = mask.min(axis=others, keepdims=True)
        if (mask == first).all() and (first != first.take([0], axis)).any():
            return np.asarray(first.reshape(run.shape))
    return None


def _leaves_out(run: NdArray, real: NdArray) -> bool:
    """Only fillers, in one piece."""
    left = ~real
    steps = np.abs(np.diff(real.astype(np.int8), axis=1)).sum(1)
    return bool(left.any() and not (left & ~run).any() and (steps <= 1).all())


def refilled(array: NdArray, where: NdArray, real: NdArray) -> NdArray:
    """Real elements in the place of fillers; `where` and `real` are bool[sequences, positions]."""
    rng, out = np.random.default_rng(0), array.copy()
    pool = array[real]
    filler = array[~real].reshape(-1)[0]
    other = pool[(pool != filler).reshape(len(pool), -1).any(1)]
    out[where] = other[rng.integers(0, len(other), int(where.sum()))]
    return out


def positions_of(values: NdArray, lead: Sequence[int], real: NdArray) -> tuple[NdArray, NdArray] | None:
    """The largest of each output, as sequences x positions, and which of these belong to real elements.

    `lead` are the axes that the outputs share with their targets. An output for a whole sequence has one
    position.
    """
    rows, length = real.shape
    if lead and lead[0] != rows and lead[0] % rows == 0 and lead[0] // rows in (length, length - 1):
        values = values.reshape(rows, lead[0] // rows, *values.shape[1:])
        lead = (rows, lead[0] // rows, *lead[1:])
    if not lead or lead[0] != rows:
        return None
    if len(lead) > 1 and lead[1] in (length, length - 1):
        kept = real if lead[1] == length else real[:, 1:] & real[:, :-1]
        return np.asarray(values.reshape(rows, lead[1], -1).max(2)), np.asarray(kept)
    return np.asarray(values.reshape(rows, 1, -1).max(2)), np.asarray(real.any(1, keepdims=True))

"""Targets that the model gets as a part of its input: a column of the label, tokens that were not shifted.

Found in the data, bit for bit, where these come into the model and where its output is compared with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradscope.measure.leaks.placing import NdArray
from gradscope.measure.leaks.trial import Compared, Trials
from gradscope.trace.domains.data_meetings import DataMeeting
from gradscope.trace.vocabulary import PRODUCTS

FEWEST_ROWS = 16
"""A column of 0 and 1 is equal to one of the labels by chance in one of 2^15 batches of so many rows."""
MOST_CLASSES = 0.25
"""Of the rows: labels with more different numbers are told by these numbers alone."""
MOST_ELEMENTS = 2**22
FEWEST_PLACES = 3
_COMPARISONS = frozenset({"sub", "mul", "gather", "dot_general"})
_DECIDING = frozenset({"sub", "gather"})
"""Arrays that are compared so are targets; one that multiplies outputs may be a mask."""


@dataclass(frozen=True)
class CopiedColumns:
    """Columns of an operand that say what the target of each row is."""

    compared: Compared
    target: NdArray
    """One number for each row."""
    fed: tuple[DataMeeting, ...]
    """Where they come in."""
    value: NdArray
    """That does."""
    columns: tuple[int, ...]
    """Along its last axis."""
    last: bool
    """In the last step of each window alone, and not in all of them."""

    def permuted(self) -> NdArray:
        """The value with these columns taken from other rows."""
        rows = np.array(self.value).reshape(len(self.value), -1, self.value.shape[-1])
        order = np.random.default_rng(0).permutation(len(rows))
        at, columns = slice(-1 if self.last else 0, None), list(self.columns)
        rows[:, at, columns] = rows[order][:, at, columns]
        return rows.reshape(self.value.shape)

    def rest(self) -> NdArray:
        """f[rows, features]: what else comes in with them."""
        rows = np.array(self.value, np.float64).reshape(len(self.value), -1, self.value.shape[-1])
        kept = np.ones(rows.shape[1:], bool)
        kept[-1 if self.last else slice(None), list(self.columns)] = False
        return rows[:, kept]


def copied_columns(trials: Trials) -> CopiedColumns | None:
    """The first, where each target that outputs are compared with stands in the input of a product."""
    if not trials.arrays:
        return None
    key = len(trials.program.body.jaxpr.invars) - 1
    fed = [each for each in trials.meetings if _enters(each) and key not in each.given.inputs]
    targets = [each for each in trials.compared() if each.meeting.eqn.primitive.name in _COMPARISONS]
    if not fed or not targets:
        return None
    meetings = [*fed, *(each.meeting for each in targets)]
    values = trials.given(meetings, [{}])[0]
    inputs = list(zip(fed, values, strict=False))
    found: CopiedColumns | None = None
    read: frozenset[int] = frozenset()
    for target, value in zip(targets, values[len(fed) :], strict=True):
        match = _match(target, value, inputs)
        if match is not None:
            found, read = found or match, read | target.meeting.given.inputs
    others = [
        each
        for each in targets
        if each.meeting.eqn.primitive.name in _DECIDING and not each.meeting.given.inputs <= read
    ]
    return None if others else found


def _enters(meeting: DataMeeting) -> bool:
    return not meeting.outputs and meeting.eqn.primitive.name in PRODUCTS


def _match(
    compared: Compared, value: NdArray, inputs: list[tuple[DataMeeting, NdArray]]
) -> CopiedColumns | None:
    target = _target(compared, value)
    if target is None:
        return None
    for _, fed in inputs:
        if (
            fed.ndim < 2
            or len(fed) != len(target)
            or fed.size > MOST_ELEMENTS
            or fed.dtype.kind not in "iufb"
        ):
            continue
        rows = np.asarray(fed).reshape(len(fed), -1, fed.shape[-1])
        for last in (False, True):
            if last and (fed.ndim != 3 or rows.shape[1] < 3):
                continue
            columns = _columns(rows, target, last)
            if columns and (last or _tells_more(rows, columns)):
                same = tuple(one for one, other in inputs if np.array_equal(fed, other))
                return CopiedColumns(compared, target, same, np.asarray(fed), columns, last)
    return None


def _target(compared: Compared, value: NdArray) -> NdArray | None:
    """One number for each row: of the class where there are few of them."""
    name = compared.meeting.eqn.primitive.name
    rows = len(value) if value.ndim else 0
    if rows < FEWEST_ROWS or value.dtype.kind not in "iufb":
        return None
    wide = np.asarray(value, np.float64).reshape(rows, -1)
    if not np.isfinite(wide).all():
        return None
    if wide.shape[1] > 1:
        hot = bool(((wide == 0) | (wide == 1)).all()) and bool((wide.sum(1) == 1).all())
        return wide.argmax(1).astype(np.float64) if hot else None
    target = wide[:, 0]
    few = np.unique(target).size
    if few < 2 or (name != "sub" and few > MOST_CLASSES * rows):
        return None
    return target


def _columns(rows: NdArray, target: NdArray, last: bool) -> tuple[int, ...]:
    """Of rows f[N, places, columns]: the one that is the target, or those that are its one-hot rows."""
    first = rows[:, -1] if last else rows[:, 0]
    alike = np.ones(rows.shape[2], bool) if last else (rows == rows[:, :1]).all((0, 1))
    values, classes = np.unique(target, return_inverse=True)
    counted = len(values) <= MOST_CLASSES * len(target)
    indicators: dict[bytes, int] = {}
    for column in np.flatnonzero(alike):
        each = first[:, column].astype(np.float64)
        if np.array_equal(each.astype(np.float32), target.astype(np.float32)):
            return (int(column),)
        if not counted:
            continue
        numbers, where = np.unique(each, return_inverse=True)
        if len(numbers) == len(values) and len(set(zip(classes, where, strict=True))) == len(values):
            return (int(column),)
        if len(numbers) == 2:
            indicators[(where == 1).tobytes()] = int(column)
    hot = [indicators.get((classes == number).tobytes()) for number in range(len(values))]
    found = tuple(column for column in hot if column is not None)
    return found if len(values) > 2 and len(found) == len(values) else ()


def _tells_more(rows: NdArray, columns: tuple[int, ...]) -> bool:
    """Something else differs from row to row: an autoencoder has nothing but its target."""
    rest = np.delete(rows, columns, axis=2)
    return bool(rest.size) and bool((rest != rest[:1]).any())


@dataclass(frozen=True)
class CopiedTokens:
    """The token that each place of a causal model has to say is the one that it reads there."""

    compared: Compared
    fed: DataMeeting
    position: int
    length: int
    change: float
    """Of the output at that position, where the token there is another one."""


def copied_tokens(trials: Trials) -> CopiedTokens | None:
    """The first; `None` where an output depends on tokens behind it, or not on its own."""
    fed = [each for each in trials.meetings if not each.outputs and each.eqn.primitive.name == "gather"]
    targets = [each for each in trials.compared() if each.meeting.eqn.primitive.name == "gather"]
    if not fed or not targets:
        return None
    meetings = [*fed, *(each.meeting for each in targets)]
    values = trials.given(meetings, [{}])[0]
    for target, labels in zip(targets, values[len(fed) :], strict=True):
        same = [i for i in range(len(fed)) if _is_copy(values[i], labels)]
        if same:
            return _asked(trials, target, [fed[i] for i in same], [values[i] for i in same])
    return None


def _is_copy(tokens: NdArray, labels: NdArray) -> bool:
    shape = np.squeeze(tokens).shape
    if len(shape) != 2 or min(shape) < FEWEST_PLACES or tokens.size != labels.size:
        return False
    alike = tokens.dtype.kind in "iu" and np.array_equal(np.ravel(tokens), np.ravel(labels))
    return alike and bool(np.ptp(tokens))


def _asked(
    trials: Trials, compared: Compared, fed: list[DataMeeting], values: list[NdArray]
) -> CopiedTokens | None:
    rows, length = np.squeeze(values[0]).shape
    forward = trials.forward(compared.spot, [(each.path, each.operand) for each in fed])
    base = forward(values)
    if base.size % (rows * length):
        return None
    numbers = np.unique(values[0])
    places = sorted({length // 4, length // 2, length - 2} - {0})
    changed = 0.0
    for place in places:
        moved = [_other(each, place, numbers) for each in values]
        apart = np.abs(np.asarray(forward(moved), np.float64) - np.asarray(base, np.float64))
        apart = apart.reshape(rows, length, -1).max(2)
        limit = trials.tolerance * float(apart.max(initial=0))
        if not np.isfinite(apart).all() or not (apart[:, place] > limit).any():
            return None
        if (apart[:, :place] > limit).any():
            return None
        changed = float(apart[:, place].max())
    return CopiedTokens(compared, fed[0], places[-1], length, changed)


def _other(tokens: NdArray, place: int, numbers: NdArray) -> NdArray:
    """With the next number in the place of each token at one place."""
    out = np.array(tokens)
    rows = out.reshape(np.squeeze(out).shape)
    rows[:, place] = numbers[(np.searchsorted(numbers, rows[:, place]) + 1) % len(numbers)]
    return rows.reshape(out.shape)

"""Which outputs of a program are compared with its own inputs, one position later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradscope.measure.leaks.placing import NdArray, Placement, place
from gradscope.measure.leaks.sequences import Sequences, axes_of, edited, padding, rows_axis, shifted
from gradscope.measure.leaks.trial import Compared, Trials
from gradscope.trace.domains.data_meetings import DataMeeting


@dataclass(frozen=True)
class Edits:
    """Other elements from some positions on, in every second sequence."""

    moments: tuple[int, ...]
    inputs: list[NdArray]
    targets: list[NdArray]
    inputs_at: list[NdArray]
    """Positions x sequences."""
    targets_at: list[NdArray]
    single: tuple[NdArray, NdArray]
    """Inputs and targets of which the elements at the first moment alone are others."""


@dataclass(frozen=True)
class ShiftedOutput:
    """One output that is compared with shifted inputs, and the places where these come in."""

    sequences: Sequences
    edits: Edits
    compared: Compared
    placement: Placement
    meetings: list[DataMeeting]
    inputs: list[Placement]
    values: list[list[NdArray]]
    """What comes in at each: of the batch as it is, and with each edit."""

    def last(self, moment: int) -> int:
        """The position of the output whose target is the first element that was changed."""
        return moment - self.sequences.offset + self.placement.shift


def shifted_outputs(trials: Trials) -> Iterator[ShiftedOutput]:
    """In the order of the arrays, and then of the program."""
    if any(axes_of(array) for array in trials.arrays.values()):
        for sequences in _sequences(trials):
            yield from _outputs_of(trials, sequences)


def _sequences(trials: Trials) -> Iterator[Sequences]:
    arrays = trials.arrays
    targets = [each.meeting.given for each in trials.compared()]
    others = [each.given for each in trials.meetings]
    for x, array in arrays.items():
        mine = [given for given in targets if x in given.inputs]
        fed = [given for given in others if x in given.inputs]
        if any(a is not b and (a.moved or b.moved) for a in mine for b in fed):
            yield from (Sequences(x, x, axis) for axis in axes_of(array))
        for y, other in arrays.items():
            if x == y or not fed or not any(y in given.inputs for given in targets):
                continue
            yield from (Sequences(x, y, axis, offset) for axis, offset in shifted(array, other))


def _outputs_of(trials: Trials, sequences: Sequences) -> Iterator[ShiftedOutput]:
    edits = _edits(trials, sequences)
    if edits is None:
        return
    targets = [each for each in trials.compared() if sequences.targets in each.meeting.given.inputs]
    fed = [each for each in trials.meetings if sequences.inputs in each.given.inputs]
    meetings = [*fed, *(each.meeting for each in targets)]
    changed = [
        {sequences.inputs: x, sequences.targets: y} for x, y in zip(edits.inputs, edits.targets, strict=True)
    ]
    single = dict(zip((sequences.inputs, sequences.targets), edits.single, strict=True))
    *values, alone = trials.given(meetings, [{}, *changed, single])
    columns = [list(column) for column in zip(*values, strict=True)]
    later = [m - sequences.offset for m in edits.moments]
    inputs = [
        _copied(column, each, place(column[0], column[1:], edits.inputs_at, edits.moments))
        for column, each in zip(columns[: len(fed)], alone, strict=False)
    ]
    for compared, column, each in zip(targets, columns[len(fed) :], alone[len(fed) :], strict=True):
        output = _copied(column, each, place(column[0], column[1:], edits.targets_at, later))
        if output is None or compared.meeting.output.noise:
            continue
        chosen = [
            i
            for i, each in enumerate(inputs)
            if each is not None and each.whole and each.shift - output.shift + sequences.offset == 1
        ]
        found = [(fed[i], inputs[i], columns[i]) for i in chosen if fed[i] is not compared.meeting]
        if found and not _realigned(compared, [placement for _, placement, _ in found]):
            placed = [placement for _, placement, _ in found]
            found += list(_backwards(fed, inputs, columns[: len(fed)], placed, compared))
            parts = [list(part) for part in zip(*found, strict=True)]
            yield ShiftedOutput(sequences, edits, compared, output, *parts)


def _backwards(
    fed: Sequence[DataMeeting],
    inputs: Sequence[Placement | None],
    columns: Sequence[list[NdArray]],
    chosen: Sequence[Placement | None],
    compared: Compared,
) -> Iterator[tuple[DataMeeting, Placement, list[NdArray]]]:
    """Where the same inputs come in once more, in the opposite order, as in a loop that runs backwards."""
    for meeting, placed, column in zip(fed, inputs, columns, strict=True):
        if placed is not None or meeting is compared.meeting:
            continue
        for each in chosen:
            if each is None or column[0].shape != each.shape:
                continue
            turned = [np.flip(value, each.axis) for value in column]
            if any(_same(turned, other) for other, at in zip(columns, inputs, strict=True) if at is each):
                yield meeting, each, column
                break


def _same(values: Sequence[NdArray], others: Sequence[NdArray]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(values, others, strict=True))


def copies(trials: Trials, sequences: Sequences) -> list[DataMeeting]:
    """Where the inputs come into the model element by element, and are not compared with what it makes."""
    edits = _edits(trials, sequences)
    if edits is None:
        return []
    targets = {id(each.meeting) for each in trials.compared() if each.meeting.eqn.primitive.name != "add"}
    fed = [
        each for each in trials.meetings if sequences.inputs in each.given.inputs and id(each) not in targets
    ]
    if not fed:
        return []
    changed = [{sequences.inputs: each} for each in (*edits.inputs, edits.single[0])]
    *values, alone = trials.given(fed, [{}, *changed])
    found = []
    for meeting, each, *column in zip(fed, alone, *values, strict=True):
        placed = _copied(column, each, place(column[0], column[1:], edits.inputs_at, edits.moments))
        if placed is not None and placed.whole:
            found.append(meeting)
    return found


def _copied(values: Sequence[NdArray], alone: NdArray, found: Placement | None) -> Placement | None:
    """Where each position comes from one element and not from several, as a moving average does."""
    if found is None:
        return None
    moved = found.by_position(values[0] != alone, alone.ndim).any(1)
    return found if np.count_nonzero(moved) == 1 else None


def _realigned(compared: Compared, inputs: Sequence[Placement | None]) -> bool:
    """The model itself drops its first positions, as that of a class token: nothing is shifted then."""
    lengths = {each.shape[each.axis] for each in inputs if each is not None}
    return any(size in lengths for size, _ in compared.meeting.output.starts)


def _edits(trials: Trials, sequences: Sequences) -> Edits | None:
    x, y = (trials.arrays[each] for each in (sequences.inputs, sequences.targets))
    axis, rows = sequences.axis, rows_axis(x, sequences.axis)
    real = Real(x, axis, rows), Real(y, axis, rows)
    length, offset = x.shape[axis], sequences.offset
    possible = [
        m
        for m in range(1, length - 1)
        if real[0].at[m].any() and 0 < m - offset < length and real[1].at[m - offset].any()
    ]
    if len(possible) < 3:
        return None
    moments = tuple(possible[len(possible) * part // 4] for part in (1, 2, 3))
    if len(set(moments)) < 3:
        moments = tuple(possible[:3])
    inputs = [real[0].edited(m) for m in moments]
    targets = inputs if x is y else [real[1].edited(m - offset) for m in moments]
    at = moments[0], moments[0] - offset
    single = real[0].edited(at[0], at[0] + 1), real[1].edited(at[1], at[1] + 1)
    marks = [real[0].marks(m) for m in moments], [real[1].marks(m - offset) for m in moments]
    return Edits(moments, inputs, targets, *marks, single)


class Real:
    """The elements of an array that may be changed: no fillers, and every second sequence."""

    def __init__(self, array: NdArray, axis: int, rows: int | None) -> None:
        self._array = array
        order = [axis, *([] if rows is None else [rows])]
        self._rest = tuple(a for a in range(array.ndim) if a not in order)
        self._order = (*order, *self._rest)
        fillers = padding(array, axis)
        self._values = None if array.dtype.kind == "f" else np.unique(array[~fillers])
        real = np.transpose(~fillers, self._order).reshape(
            *(array.shape[a] for a in order), *([1] if rows is None else []), -1
        )
        self._real = real
        if rows is not None:
            self._real = real & (np.arange(real.shape[1]) % 2 == 0)[None, :, None]
        self.at = np.asarray(self._real.any(2))
        """Positions x sequences."""

    def marks(self, moment: int, until: int | None = None) -> NdArray:
        return np.asarray(self._from(moment, until).any(2))

    def edited(self, moment: int, until: int | None = None) -> NdArray:
        where = self._from(moment, until).reshape([self._array.shape[a] for a in self._order])
        return edited(self._array, np.transpose(where, np.argsort(self._order)), self._values)

    def _from(self, moment: int, until: int | None) -> NdArray:
        places = np.arange(len(self._real))
        inside = (places >= moment) & (places < (len(places) if until is None else until))
        return self._real & inside[:, None, None]

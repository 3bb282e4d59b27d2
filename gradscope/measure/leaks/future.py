"""Whether a model that predicts the next element of a sequence sees it.

Such a model is told by its data: its targets are its own inputs, one position later. Its input is changed
from some position on, and its output before that position has to stay as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradscope.measure.leaks.first_site import first_changed_site
from gradscope.measure.leaks.handed_on import hands_a_code_on
from gradscope.measure.leaks.placing import NdArray
from gradscope.measure.leaks.sequences import rows_axis
from gradscope.measure.leaks.shifted_outputs import Real, ShiftedOutput, shifted_outputs
from gradscope.measure.leaks.trial import Trials, changes
from gradscope.records import FutureLeak
from gradscope.trace.domains.data_meetings import DataMeeting
from gradscope.trace.sources import source_of

TRIED = 2
"""Comparisons with targets that are looked at; each is one more program to compile."""


def future_leaks(trials: Trials) -> Iterator[FutureLeak]:
    """One for each output that is compared with targets; none where one of them is as it should be.

    What refines such an output, once all of a sequence is made, may see the whole.
    """
    found = list[FutureLeak]()
    for output in itertools.islice(shifted_outputs(trials), TRIED):
        leak = _asked(trials, output)
        if leak is None:
            return
        found.append(leak)
    yield from found


def _asked(trials: Trials, output: ShiftedOutput) -> FutureLeak | None:
    spots = [(each.path, each.operand) for each in output.meetings]
    forward = trials.forward(output.compared.spot, spots)
    base = forward([each[0] for each in output.values])
    for i, moment in enumerate(output.edits.moments):
        other = forward([each[i + 1] for each in output.values])
        leak = _Leak(trials, output, i, moment, base, other)
        if leak.mixes_rows:
            return None
        if leak.found:
            again = forward([each[0] for each in output.values])
            apart = np.array_equal(base, again, equal_nan=True) and leak.of_every_input(forward)
            return leak.record(forward) if apart and leak.counts() else None
    return None


class _Leak:
    """One edit, and what it has changed."""

    def __init__(
        self, trials: Trials, output: ShiftedOutput, edit: int, moment: int, base: NdArray, other: NdArray
    ) -> None:
        self._trials, self._output, self._edit, self._moment = trials, output, edit, moment
        self._base, self._other = base, other
        self._size = _rank(output.compared.meeting)
        self._last = output.last(moment)
        self._by_position = self._changes(other)
        self._rows = output.edits.inputs_at[edit].any(0)
        self._limit = trials.tolerance * float(self._by_position.max(initial=0))
        self.mixes_rows = bool((self._by_position[:, ~self._rows] > self._limit).any())
        self._leaked = self._early(self._by_position)
        self.found = bool(self._leaked.any())

    def _changes(self, other: NdArray) -> NdArray:
        apart = self._output.compared.aligned(changes(self._base, other))
        return self._output.placement.by_position(apart, self._size)

    def _early(self, by_position: NdArray) -> NdArray:
        early = np.arange(len(by_position)) <= self._last
        return (by_position > self._limit) & early[:, None]

    def of_every_input(self, forward: Any) -> bool:
        """An encoder that is meant to see the whole stands beside a decoder that is not."""
        groups: list[list[int]] = []
        values = self._output.values
        for i, each in enumerate(values):
            alike = (g for g in groups if self._same(values[g[0]][0], each[0], self._output.inputs[i].axis))
            group = next(alike, None)
            if group is None:
                groups.append([i])
            else:
                group.append(i)
        if len(groups) == 1:
            return True
        for group in groups:
            put = [each[self._edit + 1] if i in group else each[0] for i, each in enumerate(values)]
            moved = self._changes(forward(put))
            if moved.any() and not self._early(moved).any():
                return False
        return True

    @staticmethod
    def _same(one: NdArray, other: NdArray, axis: int) -> bool:
        """In either order of the positions: a loop may run backwards."""
        turned = np.flip(other, axis) if axis < other.ndim else other
        return any(np.array_equal(np.squeeze(one), np.squeeze(each)) for each in (other, turned))

    def counts(self) -> bool:
        """The loss reads the outputs that have changed."""
        output = self._output
        path, operand = output.compared.spot
        spot, spots = (path, operand), [(each.path, each.operand) for each in output.meetings]
        loss = self._trials.forward(None, [*spots, spot])
        given = [each[0] for each in output.values]
        aligned = output.compared.aligned(self._base).shape
        where = output.placement.spread(self._leaked, aligned, self._size).reshape(self._base.shape)
        mixed = np.where(where, self._other, self._base)
        return not np.array_equal(
            loss([*given, self._base]), loss([*given, mixed.astype(self._base.dtype)]), equal_nan=True
        )

    def record(self, forward: Any) -> FutureLeak:
        output = self._output
        meeting = output.compared.meeting
        sequences = output.sequences
        position = int(np.flatnonzero(self._leaked.any(1))[-1])
        first = self._moment + output.inputs[0].shift
        layer, line = first_changed_site(
            self._trials, output.meetings, output.values, self._edit, output.inputs[0], first
        )
        return FutureLeak(
            source=line or source_of(meeting.eqn, meeting.calls),
            layer=layer,
            inputs=self._trials.name(sequences.inputs),
            targets=self._trials.name(sequences.targets),
            position=position,
            first=first,
            length=output.inputs[0].shape[output.inputs[0].axis],
            change=float(self._by_position[position].max()),
            largest=float(self._by_position.max()),
            target=self._sees_target(forward),
            filled=self._trials.filled,
            encoded=hands_a_code_on(self._trials.program.body, output.inputs[0].shape[output.inputs[0].axis]),
            routed=meeting.output.chosen,
        )

    def _sees_target(self, forward: Any) -> bool:
        """Whether the output changes with the one element that it has to predict."""
        output, sequences = self._output, self._output.sequences
        x = self._trials.arrays[sequences.inputs]
        real = Real(x, sequences.axis, rows_axis(x, sequences.axis))
        edit = {sequences.inputs: real.edited(self._moment, self._moment + 1)}
        moved = self._changes(forward(self._trials.given(output.meetings, [edit])[0]))
        return bool((moved[self._last] > self._limit).any())


def _rank(meeting: DataMeeting) -> int:
    aval: Any = meeting.eqn.invars[meeting.operand].aval
    return int(aval.ndim)

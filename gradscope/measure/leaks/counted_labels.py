"""Which labels count: the loss with others in the place of fillers, or of numbers below 0."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from gradscope.measure.leaks.fillers import runs_of_fillers, tells_of
from gradscope.measure.leaks.placing import NdArray
from gradscope.measure.leaks.trial import Compared, Trials
from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.sources import source_of

TRIED = 2
"""Comparisons with labels that are looked at."""
MOST = 0.5
"""Share of fillers among the labels that count, from which on they are told of: most of what the loss says is
then that a sequence is over."""


def counted_labels(trials: Trials) -> Iterator[MisdirectedCredit]:
    """Only what is compared with the scores is exchanged: masks that are made of the labels stay."""
    for place, array in trials.arrays.items():
        below = array < 0 if array.dtype.kind == "i" else np.zeros(array.shape, bool)
        runs = list(islice(runs_of_fillers(array), 1)) if array.dtype.kind in "iu" else []
        if below.any() and array.ndim:
            yield from _below(trials, place, array, below)
        elif runs and array.ndim == 2 and _are_fillers(trials, place, runs[0]):
            yield from _fillers(trials, place, array, runs[0])


def _are_fillers(trials: Trials, place: int, run: NdArray) -> bool:
    """Labels alone may end alike since what they describe does. These are an input as well, or another array
    says so."""
    entering = any(place in each.given.inputs and not len(each.outputs) for each in trials.meetings)
    return entering or any(tells_of(run, array) for other, array in trials.arrays.items() if other != place)


def _compared(trials: Trials, place: int) -> Iterator[Compared]:
    choosing = (each for each in trials.compared() if each.meeting.given.inputs == {place})
    for each in choosing:
        if _chooses(trials, each):
            yield each


def _chooses(trials: Trials, compared: Compared) -> bool:
    """By numbers, or by rows with a single 1; what has no axis of classes is a mask."""
    meeting = compared.meeting
    if meeting.eqn.primitive.name == "gather":
        return True
    if meeting.eqn.primitive.name != "mul":
        return False
    ((value,),) = trials.given([meeting], [{}])
    one_hot = value.ndim > 1 < value.shape[-1] and ((value == 0) | (value == 1)).all()
    return bool(one_hot and (value.sum(-1) <= 1).all())


def _below(trials: Trials, place: int, array: NdArray, below: NdArray) -> Iterator[MisdirectedCredit]:
    if not (array >= 0).any():
        return
    for compared in islice(_compared(trials, place), TRIED):
        changed = _changes_loss(trials, compared, {place: np.where(below, _another(array), array)})
        if changed and _wraps_to_others(trials, compared, array, below):
            yield _record(Misdirection.NEGATIVE, compared, int(below.sum()), float(below.mean()))
            return


def _wraps_to_others(trials: Trials, compared: Compared, array: NdArray, below: NdArray) -> bool:
    """Whether a class from the end is another one's already: of a label, or of a token. The last class is
    kept free for what is -1 elsewhere."""
    eqn = compared.meeting.eqn
    if eqn.primitive.name != "gather":
        return False
    classes = shape_of(eqn.invars[0])[jaxprs.lookup(eqn).indexed[-1]]
    known = [each[each >= 0] for each in trials.arrays.values() if each.dtype.kind in "iu"]
    return bool(np.isin(classes + array[below], np.concatenate([each.reshape(-1) for each in known])).any())


def _fillers(trials: Trials, place: int, array: NdArray, run: NdArray) -> Iterator[MisdirectedCredit]:
    share = float(run.mean())
    for compared in islice(_compared(trials, place), TRIED):
        other = _exchanged(array, run)
        real = _changes_loss(trials, compared, {place: np.where(run, array, other)})
        filled = _changes_loss(trials, compared, {place: np.where(run, other, array)})
        if filled and not real:
            yield _record(Misdirection.ONLY_FILLERS, compared, int(run.sum()), share)
            return
        if filled and share >= MOST:
            yield _record(Misdirection.FILLERS, compared, int(run.sum()), share)
            return


def _another(array: NdArray) -> int:
    """A label of the batch that is not the last class, which a -1 stands for."""
    return int(array[array >= 0].min())


def _exchanged(array: NdArray, run: NdArray) -> NdArray:
    """Another real label for each element."""
    values = np.unique(array[~run])
    place = np.searchsorted(values, array).clip(0, len(values) - 1)
    return np.asarray(values[(place + 1) % len(values)], array.dtype)


def _changes_loss(trials: Trials, compared: Compared, edit: dict[int, NdArray]) -> bool:
    meeting = compared.meeting
    base, moved = trials.given([meeting], [{}, edit])
    if np.array_equal(base[0], moved[0]):
        return False
    loss = trials.loss_at(meeting)
    one, other = float(loss(base)), float(loss(moved))
    return abs(one - other) > trials.tolerance * max(abs(one), abs(other))


def _record(kind: Misdirection, compared: Compared, count: int, share: float) -> MisdirectedCredit:
    meeting = compared.meeting
    return MisdirectedCredit(kind, source_of(meeting.eqn, meeting.calls), (), count=count, share=share)

"""Whether the loss depends on what fills sequences up to one length: other fillers are put in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradscope.measure.leaks.fillers import Fillers, of_a_score, positions_of, refilled, runs_of_fillers, said
from gradscope.measure.leaks.placing import NdArray
from gradscope.measure.leaks.sequences import Sequences
from gradscope.measure.leaks.shifted_outputs import copies
from gradscope.measure.leaks.trial import Compared, Trials, changes
from gradscope.records import PaddingLeak
from gradscope.trace import jaxprs
from gradscope.trace.domains.data_meetings import DataMeeting
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.uses import uses_of
from gradscope.trace.sources import source_of

_CONVOLUTIONS = frozenset({"conv_general_dilated"})


def padding_leaks(trials: Trials) -> Iterator[PaddingLeak]:
    """At most one for each array of sequences."""
    for place, array in trials.arrays.items():
        filled = _filled(trials, place, array)
        if filled is not None and not _convolves(trials, filled):
            found = _asked(trials, place, array, filled)
            if found is not None:
                yield found


def _filled(trials: Trials, place: int, array: NdArray) -> Fillers | None:
    """What a mask or lengths of the batch, or a mask of the loss, calls fillers."""
    for run in runs_of_fillers(array):
        for other, values in trials.arrays.items():
            if other != place and (found := said(run, other, values)) is not None:
                # Where the network takes the mask in as well, it knows a filler from a value.
                taken_in = uses_of(trials.program, other - len(trials.program.leaves)).is_input
                return None if taken_in else found
        masks = [each for each in trials.meetings if each.given.inputs == {place} and _masks(each, run.size)]
        for values in trials.given(masks, [{}])[0] if masks else ():
            mask = values if values.size == run.size else of_a_score(values, run)
            if mask is not None and (found := said(run, None, mask)) is not None:
                return found
    return None


def _convolves(trials: Trials, filled: Fillers) -> bool:
    """A convolution sees the fillers next to a sequence, even where its mask is used as it should be."""
    used = filled.said_by is None or any(filled.said_by in each.given.inputs for each in trials.meetings)
    return used and jaxprs.has_primitive(trials.program.body, _CONVOLUTIONS)


def _asked(trials: Trials, place: int, array: NdArray, filled: Fillers) -> PaddingLeak | None:
    meetings = copies(trials, Sequences(place, place, 1))
    if not meetings:
        return None
    other = np.arange(len(array)) % 2 == 0
    if not (~filled.real[other]).any():
        other = ~other
    edit = {place: refilled(array, ~filled.real & other[:, None], filled.real)}
    base, moved = trials.given(meetings, [{}, edit])
    puts = [(each.path, each.operand) for each in meetings]
    loss = trials.forward(None, puts)
    losses = [float(loss(values)) for values in (base, moved)]
    if not abs(losses[1] - losses[0]) > trials.tolerance * abs(losses[0]) or losses[0] != float(loss(base)):
        return None
    record = None
    for compared in trials.compared():
        if not _is_target(trials, compared, place, filled):
            continue
        read = trials.forward(compared.spot, puts)
        placed = positions_of(compared.aligned(changes(read(base), read(moved))), compared.lead, filled.real)
        if placed is None or not placed[0].any():
            continue
        apart, real = placed
        if apart[~other].any():
            return None
        meeting, change = compared.meeting, float(np.where(real, apart, 0).max())
        if record is None or change > 0:
            record = PaddingLeak(
                source=source_of(meeting.eqn, meeting.calls),
                sequences=trials.name(place),
                said_by="" if filled.said_by is None else trials.name(filled.said_by),
                fillers=int((~filled.real).sum()),
                elements=filled.real.size,
                replaced=int((~filled.real[other]).sum()),
                change=change,
                loss=losses[0],
                other=losses[1],
            )
        if change > 0:
            break
    return record


def _is_target(trials: Trials, compared: Compared, place: int, filled: Fillers) -> bool:
    """It is no mask that meets values inside the model."""
    meeting = compared.meeting
    aval: Any = meeting.eqn.invars[meeting.operand].aval
    if aval.dtype == np.bool_ or meeting.given.inputs <= {filled.said_by}:
        return False
    if meeting.given.inputs != {place} or meeting.eqn.primitive.name == "gather":
        return True
    ((value,),) = trials.given([meeting], [{}])
    return not ((value == 0) | (value == 1)).all() or bool((value != value[..., :1]).any())


def _masks(meeting: DataMeeting, size: int) -> bool:
    """One value for each element of the sequences, or copies of such values for the scores of attention."""
    atom = meeting.eqn.invars[meeting.operand]
    aval: Any = atom.aval
    total = int(np.prod(shape_of(atom)))
    return total == size or (aval.dtype == np.bool_ and total > size and total % size == 0)

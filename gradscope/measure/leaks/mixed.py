"""Whether the output for one example depends on others, where a `reshape` or a loop may have mixed them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradscope.measure.leaks.placing import NdArray, Placement
from gradscope.measure.leaks.sequences import edited
from gradscope.measure.leaks.trial import Compared, Trials, changes
from gradscope.records import BatchLeak, BatchMix
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.exchanges import Exchange, exchanges
from gradscope.trace.domains.objective.scanned import Scanned, scans_of_examples
from gradscope.trace.sources import source_of

TRIED = 2
"""Comparisons with targets that are looked at."""


def mixed_examples(trials: Trials) -> Iterator[BatchLeak]:
    """At the first such line, where the first output that has a row for each example depends on others."""
    program = trials.program
    examples = examples_of(program, trials.batch)
    if examples < 2:
        return
    first = len(program.leaves)
    shapes = {i: shape_of(var) for i, var in enumerate(program.body.jaxpr.invars) if i >= first}
    counted = [i for i, shape in shapes.items() if shape[:1] == (examples,)]
    suspects: list[Exchange | Scanned] = [
        *exchanges(program, examples, counted),
        *scans_of_examples(program, examples, counted),
    ]
    if not suspects:
        return
    suspect = suspects[0]
    rows = {place: array for place, array in trials.arrays.items() if array.shape[:1] == (examples,)}
    other = np.arange(examples) % 2 == 0
    edit = _edited(rows, other, 0)
    for compared in [each for each in trials.compared() if each.meeting.given.inputs & edit.keys()][:TRIED]:
        places = suspect.places if isinstance(suspect, Scanned) else None
        found = _dependence(trials, compared, edit, other, places)
        if places == examples and found is not None:
            # As many places as examples: where their axis is the one that keeps outputs apart, all is well.
            turned = _edited(rows, other, 1)
            found = found if _dependence(trials, compared, turned, other, places, apart=True) else None
        if found is not None:
            owner = program.layer_names
            yield _record(suspect, owner, *found)
            return


def _edited(rows: dict[int, NdArray], other: NdArray, axis: int) -> dict[int, NdArray]:
    """Every second row along an axis replaced, of a vector along its own."""
    found = {}
    for place, array in rows.items():
        along = min(axis, array.ndim - 1)
        if array.dtype.kind in "iuf" and array.shape[along] == len(other):
            where = other.reshape(-1, *([1] * (array.ndim - along - 1)))
            found[place] = edited(array, np.broadcast_to(where, array.shape))
    return found


def _dependence(
    trials: Trials,
    compared: Compared,
    edit: dict[int, NdArray],
    other: NdArray,
    places: int | None,
    *,
    apart: bool = False,
) -> tuple[int, float, float] | None:
    """The example whose output changed most, by how much, and the largest change of any output. `None` where
    outputs do not depend on others; `apart` also asks that the examples that were replaced tell in them."""
    meeting = compared.meeting
    fed = [each for each in trials.meetings if each is not meeting and each.given.inputs & edit.keys()]
    base, moved = trials.given([meeting, *fed], [{}, edit])
    labels = base[0] != moved[0]
    axis = _axis_of_rows(labels, other)
    if axis is None or places in (*labels.shape[:axis], *labels.shape[axis + 1 :]):
        return None
    placed = Placement(labels.shape, axis, None, 0, whole=False)
    forward = trials.forward(compared.spot, [(each.path, each.operand) for each in fed])
    outs = [forward(values[1:]) for values in (base, moved)]
    moves = placed.by_position(compared.aligned(changes(*outs)), labels.ndim)[:, 0]
    largest = float(moves.max(initial=0))
    kept = np.where(other, 0, moves)
    if not kept.max(initial=0) > trials.tolerance * largest and (largest or not apart):
        return None
    if not np.array_equal(outs[0], forward(base[1:]), equal_nan=True):
        return None
    return int(np.argmax(kept)), float(kept.max()), largest


def _axis_of_rows(labels: NdArray, other: NdArray) -> int | None:
    """The axis along which the targets of the examples that were replaced have changed, and no others."""
    for axis in range(labels.ndim):
        along = np.asarray(labels.any(tuple(a for a in range(labels.ndim) if a != axis)))
        if len(along) == len(other) and along.any() and not (along & ~other).any():
            return axis
    return None


def _record(
    suspect: Exchange | Scanned, owner: dict[int, str], example: int, change: float, largest: float
) -> BatchLeak:
    layer = owner.get(suspect.site) if suspect.site is not None else None
    made = BatchLeak(
        BatchMix.RESHAPE,
        source_of(suspect.eqn, suspect.calls),
        layer,
        shape=(),
        axis=0,
        example=example,
        change=change,
        largest=largest,
    )
    if isinstance(suspect, Scanned):
        return replace(made, mix=BatchMix.RECURRENCE, shape=suspect.rows, places=suspect.places)
    before, after = shape_of(suspect.eqn.invars[0]), shape_of(suspect.eqn.outvars[0])
    return replace(made, shape=before, axis=suspect.axis, result=after)

"""Whether predictions meet the labels of other examples, where both were flattened in another order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from gradscope.measure.leaks.placing import NdArray
from gradscope.measure.leaks.sequences import edited
from gradscope.measure.leaks.trial import Compared, Trials, changes
from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of

TRIED = 2
"""Comparisons with targets that are looked at."""
MET = 0.5
"""Share of the labels of one example that meet predictions of the same, above which all is well: a table that
is nearly square, flattened in both orders, has some elements at the same place."""


def labels_of_others(trials: Trials) -> Iterator[MisdirectedCredit]:
    """One example is replaced, its labels too: other rows of the predictions change than of the labels."""
    program, examples = trials.program, examples_of(trials.program, trials.batch)
    if examples < 2 or not _flattened_unlike(program, examples):
        return
    rows = {place: array for place, array in trials.arrays.items() if array.shape[:1] == (examples,)}
    for compared in islice(_flat(trials, examples), TRIED):
        shares = [_share(trials, compared, _edit(rows, example, examples)) for example in (1, examples // 2)]
        if all(share is not None and share < MET for share in shares):
            meeting = compared.meeting
            yield MisdirectedCredit(
                Misdirection.OTHER_ROWS, source_of(meeting.eqn, meeting.calls), (), count=examples
            )
            return


def _flat(trials: Trials, examples: int) -> Iterator[Compared]:
    for each in trials.compared():
        if each.lead and each.lead[0] > examples and each.lead[0] % examples == 0:
            yield each


def _flattened_unlike(program: Program, examples: int) -> bool:
    """Two axes of data are made one in the one order, and two of what the model makes in the other."""
    found: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
    for node in program.graph.nodes:
        if node.name == "reshape":
            before, after = shape_of(node.eqn.invars[0]), shape_of(node.eqn.outvars[0])
            if len(before) > 1 and after and after[0] == before[0] * before[1] and examples in before[:2]:
                found[bool(node.operands[0].reads)].add((before[0], before[1]))
    return any(a != b and (b, a) in found[True] - found[False] for a, b in found[False])


def _edit(rows: dict[int, NdArray], example: int, examples: int) -> dict[int, NdArray]:
    one = np.arange(examples) == example
    return {
        place: edited(array, np.broadcast_to(one.reshape(-1, *[1] * (array.ndim - 1)), array.shape))
        for place, array in rows.items()
        if array.dtype.kind in "iuf"
    }


def _share(trials: Trials, compared: Compared, edit: dict[int, NdArray]) -> float | None:
    """Of the labels that change, those whose predictions do. `None` where that tells nothing."""
    meeting = compared.meeting
    fed = [each for each in trials.meetings if each is not meeting and each.given.inputs & edit.keys()]
    base, moved = trials.given([meeting, *fed], [{}, edit])
    forward = trials.forward(compared.spot, [(each.path, each.operand) for each in fed])
    change = compared.aligned(changes(forward(base[1:]), forward(moved[1:])))
    outs = change.reshape(compared.lead[0], -1).max(1)
    labels = (base[0] != moved[0]).reshape(compared.lead[0], -1).any(1)
    told = outs > trials.tolerance * outs.max(initial=0)
    if not labels.any() or not told.any() or told.mean() > MET:
        return None
    return float((labels & told).sum() / labels.sum())

"""How far back credit reaches through the states of a loop, and the Jacobians by which it gets there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jax import Array

from gradscope.measure.credit_pass import Followed
from gradscope.measure.step_jacobians import StepJacobians
from gradscope.records import REMEMBERED, StateJacobian, StateMemory
from gradscope.trace.compiling import compile_program
from gradscope.trace.credit import Sinks, StepInputs, pulled_back
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program

Values = dict[tuple[int, int], list[Any]]
"""By loop and step: the inputs of the step."""


def _looked_at(start: int) -> list[int]:
    """The first step, the middle one and the last."""
    return sorted({0, start // 2, start})


def values_at_steps(program: Program, followed: Sequence[Followed], inputs: Inputs) -> Values:
    """One more program, forward only."""
    loops = [each.timeline for each in followed]
    hand = StepInputs(loops)
    wanted = {
        (number, step): timeline.index(step)
        for number, (each, timeline) in enumerate(zip(followed, loops, strict=True))
        for start in each.starts
        if start is not None
        for step in _looked_at(start)
    }

    def captured(weights: list[Array], others: list[Array], consts: list[Array]) -> list[list[Any]]:
        body = Body(program.body.jaxpr, consts)
        rows = {piece.number: ((), ()) for each in loops for piece in each.pieces}
        _, _, found = hand.run(body, [*weights, *others], program.plan, (), rows)
        picked = []
        for (number, _), (piece, place) in wanted.items():
            of_step, of_loop = found[loops[number].pieces[piece].number]
            picked.append([*(each[place[:-1]] for each in of_loop), *(each[place] for each in of_step)])
        return picked

    arguments = inputs.weights, inputs.others, list(program.body.consts)
    return dict(zip(wanted, compile_program(captured, arguments, runs=1)(*arguments), strict=True))


def memories_of(
    number: int, followed: Followed, whole: dict[int, Sinks], values: Values
) -> Iterator[StateMemory]:
    timeline = followed.timeline
    for order, (memory, start) in enumerate(zip(timeline.memories, followed.starts, strict=True)):
        if start is None:
            continue
        parts = [whole[piece.number].followed[order] for piece in timeline.pieces]
        norms = timeline.norms_by_step(parts)[: start + 1]
        (left,) = np.nonzero(~(norms < REMEMBERED * norms[start]))
        first = int(left[0]) if left.size else start
        yield StateMemory(
            states=len(memory),
            start=start,
            followed_norms=tuple(norms.tolist()),
            memory=start - first + 1 if first > 0 else None,
            jacobians=tuple(_jacobians(number, followed, memory, _looked_at(start), values)),
        )


def _jacobians(
    number: int, followed: Followed, memory: Sequence[int], steps: Sequence[int], values: Values
) -> Iterator[StateJacobian]:
    compiled: dict[int, tuple[list[int], StepJacobians]] = {}
    for step in steps:
        which, _ = followed.timeline.index(step)
        if which not in compiled:
            piece = followed.timeline.pieces[which]
            first = piece.entry.carried.start
            inputs = [first + piece.places[state] for state in memory]
            compiled[which] = inputs, StepJacobians(pulled_back(piece.entry.body, inputs, first))
        inputs, jacobian = compiled[which]
        given = values[number, step]
        yield jacobian(step, given, [given[i] for i in inputs])

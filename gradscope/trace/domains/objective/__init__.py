"""What the loss makes of the model's outputs and of the batch, read from the program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from gradscope.trace.domains.objective.axes import Along, shape_of
from gradscope.trace.domains.objective.example_pairs import ByExample, ExamplePairs, Meeting
from gradscope.trace.leaves import split
from gradscope.trace.program import Program
from gradscope.trace.walk import walk

__all__ = ["Meeting", "find_meetings"]


def find_meetings(program: Program, batch: Any) -> tuple[Meeting, ...]:
    """Where examples meet one another by broadcasting and are summed alike into the loss."""
    variables = program.body.jaxpr.invars
    drawn = len(split(batch).traced)
    first = len(variables) - drawn - 1
    shapes = [shape_of(var) for var in variables[first:-1]]
    data = shapes or [getattr(const, "shape", ()) for const in program.body.consts]
    examples = count_of_examples(data)
    if examples < 2:
        return ()
    pairs = ExamplePairs(examples, closed_over=not drawn)
    others = [ByExample((Along.NONE,) * len(shape_of(var))) for var in variables]
    weights = [
        ByExample(other.axes, learned=True) if i < len(program.leaves) else other
        for i, other in enumerate(others[:first])
    ]
    loss = walk(pairs, program.body, [*weights, *map(pairs.data, shapes), others[-1]], program.plan)[0]
    summed = loss.summed & ~loss.meant
    return tuple(meeting for meeting in pairs.meetings.values() if summed >> meeting.number & 1)


def count_of_examples(shapes: Iterable[tuple[int, ...]]) -> int:
    """The leading axis that most arrays of a batch have; 0 without one."""
    leading = Counter(shape[0] for shape in shapes if shape and shape[0] > 1)
    return leading.most_common(1)[0][0] if leading else 0

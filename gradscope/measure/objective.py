"""What is read of the loss itself, with the names of layers and lines."""

from __future__ import annotations

from typing import Any

from gradscope.records import ExamplePairing, Objective
from gradscope.trace.domains.objective import find_meetings
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.example_pairs import Meeting
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of


def objective_of(program: Program, batch: Any) -> Objective:
    """Everything in the order of the program."""
    owner = {site.id: layer.name for layer in program.layers for site in layer.sites}
    return Objective(
        example_pairings=tuple(_pairing(each, owner) for each in find_meetings(program, batch)),
    )


def _pairing(meeting: Meeting, owner: dict[int, str]) -> ExamplePairing:
    return ExamplePairing(
        op=meeting.eqn.primitive.name,
        source=source_of(meeting.eqn, meeting.calls),
        layer=owner.get(meeting.site) if meeting.site is not None else None,
        shape=meeting.shapes[0],
        promoted=meeting.shapes[1],
        result=shape_of(meeting.eqn.outvars[0]),
        examples=meeting.examples,
        asked=meeting.asked,
        targets=meeting.targets,
    )

"""Which expressions of a program can stop being finite, read from the program before it ever fails."""

from __future__ import annotations

from typing import Any

from gradscope.trace.domains.intervals.candidates import BATCH, PARAMS, Candidate
from gradscope.trace.domains.intervals.known import Known
from gradscope.trace.domains.intervals.survey import Survey
from gradscope.trace.leaves import split
from gradscope.trace.program import Program
from gradscope.trace.walk import walk

__all__ = ["Candidate", "find_hazards"]


def find_hazards(program: Program, batch: Any) -> tuple[Candidate, ...]:
    """The hazards that reach the loss, in the order of the program; its plan gets a probe for each."""
    drawn = len(split(batch).traced)
    rest = len(program.body.jaxpr.invars) - len(program.leaves) - drawn - 1
    survey = Survey(made_inputs=not drawn)
    weights = [Known(reads=PARAMS, grad=PARAMS)] * len(program.leaves)
    ins = [*weights, *[Known()] * rest, *[Known(reads=BATCH)] * drawn, Known()]
    loss = walk(survey, program.body, ins, program.plan)[0]
    found = []
    for candidate in survey.candidates.values():
        if candidate.bit & (loss.grad if candidate.backward else loss.reads):
            candidate.plan.probes[candidate.index] = candidate.probe
            if candidate.guarded and candidate.bit & loss.grad:
                candidate.kind = "unsafe-where"
            found.append(candidate)
    return tuple(found)

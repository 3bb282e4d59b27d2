"""How many steps are taken: by what one of them computes, and never by a clock."""

from __future__ import annotations

from gradscope.trace.program import Program
from gradscope.trace.work import BACKWARD
from gradscope.training.trials import LONGER, USUAL_STEPS

FEWEST_STEPS = 3
WORK = 4e9
"""Operations that all steps together may take, where the number of steps is not given: a fraction of a second
on two cores."""
CALLED_FOR = 1.5e11
"""The same of a trial that something in the program calls for: seconds, and with fewer than `USUAL_STEPS` no
trial tells anything."""
PER_WEIGHT = 30.0
"""Operations of the optimizer, and of what is measured of its step."""


def steps_of(program: Program) -> int:
    """Of the short training: as many as the work of a step allows."""
    return int(min(USUAL_STEPS, max(FEWEST_STEPS, WORK / _work(program))))


def steps_of_trial(program: Program, steps: int) -> int | None:
    """Of a trial that something in the program calls for, where the short training has so many; `None` where
    too few are affordable to compare, or were asked for."""
    if steps >= USUAL_STEPS:
        return LONGER * steps
    if steps < steps_of(program):
        return None
    affordable = int(min(LONGER * USUAL_STEPS, CALLED_FOR / _work(program)))
    return affordable if affordable >= USUAL_STEPS else None


def _work(program: Program) -> float:
    """Operations of a step."""
    size = sum(leaf.size for leaf in program.leaves)
    return BACKWARD * program.operations + PER_WEIGHT * size + 1.0

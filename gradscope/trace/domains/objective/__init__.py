"""What the loss makes of the model's outputs and of the batch, read from the program."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gradscope.trace.domains.objective.axes import Along, shape_of
from gradscope.trace.domains.objective.example_pairs import ByExample, ExamplePairs, Meeting
from gradscope.trace.domains.objective.given import Given
from gradscope.trace.domains.objective.output import Observation, Output, Question
from gradscope.trace.domains.objective.outputs import Outputs
from gradscope.trace.leaves import is_array, split
from gradscope.trace.program import Program
from gradscope.trace.walk import walk

__all__ = ["Seen", "examples_of", "find_meetings", "observe"]


@dataclass(frozen=True)
class Seen:
    """An observation that the loss reads."""

    observation: Observation
    leaves: int = 0
    """Of labels: the parameters in which the whole loss is affine."""
    scale: float = 1.0
    """Of log-probabilities and distances: what each of them is multiplied by in the loss."""
    beside: tuple[tuple[Observation, float], ...] = ()
    """The others of the loss, and what these are multiplied by."""
    whole: bool = False
    """They are all that the loss consists of."""


def find_meetings(program: Program, batch: Any) -> tuple[Meeting, ...]:
    """Where examples meet one another by broadcasting and are summed alike into the loss."""
    variables = program.body.jaxpr.invars
    drawn = len(split(batch).traced)
    first = len(variables) - drawn - 1
    shapes = [shape_of(var) for var in variables[first:-1]]
    examples = examples_of(program, batch)
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


def observe(program: Program, batch: Any) -> tuple[Seen, ...]:
    """What is to be looked at of the outputs, in the order of the program."""
    variables, weights = program.body.jaxpr.invars, len(program.leaves)
    domain = Outputs(examples_of(program, batch))
    inputs = [
        Output(Given(position=i, data=True), weight=True, leaves=1 << i)
        if i < weights
        else domain.input(i, shape_of(var), data=i < len(variables) - 1)
        for i, var in enumerate(variables)
    ]
    loss = walk(domain, program.body, inputs, program.plan)[0]
    affine = loss.leaves & ~loss.bent & loss.labelled
    scales = {term.number: term.scale for term in loss.terms}
    terms = [each for each in domain.seen.values() if each.number in scales]
    found = []
    for each in domain.seen.values():
        bits = loss.states if each.kind in (Question.STATE, Question.INDEX) else loss.noted
        if each.kind is Question.LABELS:
            if each.leaves & affine:
                found.append(Seen(each, leaves=each.leaves & affine))
        elif each.kind in (Question.CLASSES, Question.DISTANCE):
            if each.number in scales:
                beside = tuple((one, scales[one.number]) for one in terms if one is not each)
                whole = len(loss.terms) == 1
                found.append(Seen(each, scale=scales[each.number], beside=beside, whole=whole))
        elif bits >> each.number & 1:
            found.append(Seen(each))
    return tuple(found)


def examples_of(program: Program, batch: Any) -> int:
    """The leading axis that the parts of a batch have in common, or else what is closed over; 0 without one.

    Each part has one vote: a state beside the data has many arrays, of other lengths.
    """
    parts: dict[Any, set[int]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(batch)[0]:
        if is_array(leaf):
            parts.setdefault(path[:1], set()).update(np.shape(leaf)[:1])
    closed_over = [] if parts else [set(getattr(const, "shape", ())[:1]) for const in program.body.consts]
    votes = [part for part in [*parts.values(), *closed_over] if len(part) == 1 and max(part) > 1]
    leading = Counter(size for part in votes for size in part)
    return leading.most_common(1)[0][0] if leading else 0

"""Credit through time in words and rows, the same in every format. Steps are counted from 1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.records import (
    REMEMBERED,
    Contribution,
    StateJacobian,
    StateMemory,
    TimeCredit,
    TruncatedGradient,
    Truncation,
)
from gradscope.report.shared import units

MANY = 10
"""From here on a share is told as a factor."""
ALIKE = 0.9995
"""A cosine from here on would read as 1."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A number for each step of a loop."""

    name: str
    values: Sequence[float]
    largest: str = ""
    """The largest share in a gradient, and its step."""


@dataclass(frozen=True, slots=True)
class StepRows:
    """Rows whose numbers compare."""

    title: str
    rows: tuple[StepRow, ...]

    @property
    def length(self) -> int:
        """Of the longest; a shorter one begins with the same step."""
        return max(len(row.values) for row in self.rows)

    def padded(self, row: StepRow) -> list[float | None]:
        """As long as the longest: steps of which nothing is known are `None`."""
        return [*row.values, *[None] * (self.length - len(row.values))]


def title(credit: TimeCredit) -> str:
    return f"{credit.name}: credit over {units.counted(credit.length, 'time step')}"


def row_groups(credit: TimeCredit) -> list[StepRows]:
    """δ of the layers, what each step contributes to a gradient, and what is followed back."""
    deltas = tuple(StepRow(each.layer, each.delta_norms) for each in credit.layers)
    parts = tuple(
        StepRow(", ".join(each.parameters), each.norms, _largest(each)) for each in credit.contributions
    )
    followed = tuple(
        StepRow(_memory_name(credit, number).removeprefix("the "), each.followed_norms)
        for number, each in enumerate(credit.memories)
    )
    groups = [
        StepRows("δ of each layer", deltas),
        StepRows("contribution to each gradient", parts),
        StepRows("gradient of the last state, followed back", followed),
    ]
    return [group for group in groups if group.rows]


def _largest(contribution: Contribution) -> str:
    shares = contribution.shares
    if not shares or any(map(math.isnan, shares)):
        return ""
    step = max(range(len(shares)), key=lambda place: abs(shares[place]))
    return f"{relative(shares[step])} at step {step + 1}"


def relative(value: float) -> str:
    """A share that may be far above 1: `38%`, `-250%`, `3.2e+05 times`."""
    if not math.isfinite(value) or abs(value) < MANY:
        return units.share(value)
    return f"{units.number(value)} times"


def _memory_name(credit: TimeCredit, number: int) -> str:
    return "the state" if len(credit.memories) == 1 else f"state {number + 1}"


def sentences(credit: TimeCredit) -> Iterator[str]:
    """How far back credit reaches through each memory, and its Jacobian."""
    for number, memory in enumerate(credit.memories):
        name = _memory_name(credit, number)
        yield _reach(name, memory, credit.length)
        if memory.jacobians:
            yield _jacobians(name, memory.jacobians)


def _reach(name: str, memory: StateMemory, length: int) -> str:
    of = name if memory.states == 1 else f"{name} ({memory.states} arrays that feed each other)"
    what = (
        f"the gradient that arrives at it in step {memory.start + 1} of {length}, followed back through "
        "the recurrence alone,"
    )
    norms = memory.followed_norms
    broken = [step for step, norm in enumerate(norms) if not math.isfinite(norm)]
    if broken:
        return f"Through {of}: {what} is not finite in step {broken[-1] + 1}."
    head = f"Through {of} credit reaches"
    if memory.memory is None:
        left = norms[0] / norms[-1] if norms[-1] else math.nan
        if left >= MANY:
            return f"{head} the first step: {what} is {relative(left)} as large there."
        return f"{head} the first step: of {what} {units.share(left)} is left there."
    below = memory.start - memory.memory + 1
    return (
        f"{head} back {units.counted(memory.memory, 'step')}: {what} is below {units.share(REMEMBERED)} of "
        f"what it was in step {below} and before."
    )


def _jacobians(name: str, found: Sequence[StateJacobian]) -> str:
    """`Recurrent Jacobian of the state (the largest of 32 rows that do not read each other): ...`"""
    rows = found[0].rows
    of = f" (the largest of {units.count(rows)} rows that do not read each other)" if rows else ""
    about = "" if all(each.exact for each in found) else "about "
    radii = ", ".join(f"{units.number(each.spectral_radius)} at step {each.step + 1}" for each in found)
    stretch = [each.largest_singular_value for each in found]
    text = f"Recurrent Jacobian of {name}{of}: spectral radius {about}{radii}"
    if all(value is not None for value in stretch):
        text += f"; largest singular value {about}{', '.join(units.number(value) for value in stretch)}"
    return f"{text}."


def truncation_sentence(found: Truncation) -> str:
    cut = f"Cut every {units.counted(found.steps, 'step')}" if found.steps > 1 else "Cut at every step"
    if found.lost == 0:
        return f"{cut}, backpropagation through time loses nothing of the gradient."
    told = found.cosine is not None and found.cosine < ALIKE
    cosine = f" (cosine to the whole one {units.number(found.cosine)})" if told else ""
    return f"{cut}, backpropagation through time misses the gradient by {relative(found.lost)}{cosine}."


def losing(found: Truncation) -> list[TruncatedGradient]:
    """The parameters that lose anything, most first."""
    return sorted((each for each in found.parameters if each.lost), key=lambda each: -each.lost)

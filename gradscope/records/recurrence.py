"""Recurrent weights that nothing comes to from the step before."""

from __future__ import annotations

from enum import StrEnum

from gradscope.records.common import Source
from gradscope.records.record import record


class Idleness(StrEnum):
    """Why the state is 0 at every step."""

    OVERWRITTEN = "overwritten"
    """Every step begins with zeros, and nothing reads what the step before has handed on."""
    APART = "apart"
    """Every step begins with zeros, and hands nothing on that it makes with these weights."""
    WRITTEN_OUT = "written-out"
    """The same of a loop in Python, each step of which begins with zeros; the loss reads one alone."""
    ONCE = "once"
    """It is called with zeros, and no loop over time is known to be around it: a cell of one step."""


@record
class IdleRecurrence:
    kind: Idleness
    parameters: tuple[str, ...]
    """That are multiplied with a state."""
    layers: tuple[str, ...]
    source: Source | None
    """Of the product."""
    steps: int
    part: bool
    """Of the input and the state behind each other in one product; else the state by itself."""

"""What a reporter is: one way to write a run as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TextIO

from gradscope.records import Suite


@dataclass(frozen=True, slots=True)
class View:
    """How the reader wants it; formats for machines pass over all of it."""

    width: int = 120
    color: bool = False
    show_all: bool = False
    """Every layer and every finding, however many."""
    quiet: bool = False
    """The verdict and the findings alone."""
    verbose: bool = False
    """Everything that is known: evidence, settings, the full report of each of several targets."""


class Reporter(Protocol):
    def render(self, suite: Suite, out: TextIO, view: View) -> None: ...

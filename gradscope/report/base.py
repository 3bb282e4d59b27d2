"""What a reporter is: one way to write a report as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TextIO

from gradscope.records import Report


@dataclass(frozen=True, slots=True)
class View:
    """How the reader wants it; formats for machines pass over all of it."""

    width: int = 120
    color: bool = False
    show_all: bool = False
    """Every layer and every finding, however many."""
    quiet: bool = False
    """The verdict and the findings alone."""


class Reporter(Protocol):
    def render(self, report: Report, out: TextIO, view: View) -> None: ...

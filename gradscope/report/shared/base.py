"""What a reporter is: one way to write a run as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TextIO

from gradscope.report.shared.glyphs import UNICODE, Glyphs, glyphs_for

if TYPE_CHECKING:
    from gradscope.records import Suite

Span = tuple[str, str]
"""A text and the name of its style; the empty name is plain."""
Line = list[Span]


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
    glyphs: Glyphs = UNICODE
    """The characters that the output can show."""

    def at_most(self, width: int) -> View:
        """The same, no wider than `width`: long lines of prose are hard to read."""
        return replace(self, width=min(self.width, width))

    def indented(self, by: int) -> View:
        return replace(self, width=self.width - by)

    def on(self, out: TextIO) -> View:
        """The same, in the characters that a stream can encode."""
        return replace(self, glyphs=glyphs_for(getattr(out, "encoding", None)))


class Reporter(Protocol):
    def render(self, suite: Suite, out: TextIO, view: View) -> None: ...

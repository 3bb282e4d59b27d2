"""Shows on stderr why a run could not be judged, or that gradscope failed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from gradscope.cli import screen
from gradscope.errors import ExitCode, GradscopeError
from gradscope.language import heading, whole_line
from gradscope.report.shared.base import Line
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.terminal.lines import paragraph, print_lines


def show_error(error: GradscopeError) -> ExitCode:
    """What, why, the details as they are, what to do, and the command that explains the error."""
    view = screen.view(sys.stderr)
    lines = paragraph(error.what, view, 0, "strong", (f"{heading('error')}: ", "error"))
    if error.why:
        lines += paragraph(error.why, view, 2)
    lines += as_they_are("\n".join(map(whole_line, error.details.split("\n"))), view.glyphs)
    if error.fix:
        lines += paragraph(error.fix, view, 2, "", (f"{view.glyphs.arrow} ", "remedy"))
    if error.slug:
        lines += paragraph(f"gradscope explain {error.slug}", view, 2, "quiet")
    print_lines(lines, sys.stderr, view.color)
    return error.exit_code


@contextmanager
def interruption_shown() -> Iterator[None]:
    """Print one sentence on Ctrl-C before the command ends; Typer would print none."""
    try:
        yield
    except KeyboardInterrupt:
        view = screen.view(sys.stderr)
        print_lines(
            paragraph("Interrupted before there was anything to report.", view), sys.stderr, view.color
        )
        raise


def show_bug(error: Exception) -> ExitCode:
    """Show the traceback of a bug in gradscope; the only place that does."""
    view = screen.view(sys.stderr)
    lines: list[Line] = as_they_are("".join(traceback.format_exception(error)), view.glyphs)
    said = "gradscope failed, and your model is not to blame: nothing is said about it."
    lines += paragraph(said, view, 0, "strong", (f"{heading('sorry')}: ", "error"))
    lines += paragraph("Please report it with the lines above.", view, 2)
    print_lines(lines, sys.stderr, view.color)
    return ExitCode.INTERNAL


def as_they_are(text: str, glyphs: Glyphs) -> list[Line]:
    """Lines with their breaks and indents kept and their escape sequences removed."""
    return [[(f"  {glyphs.text(line)}", "")] for line in text.expandtabs(4).split("\n") if line.strip()]

"""Shows on stderr why a run could not be judged, or that gradscope failed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from gradscope.cli import screen
from gradscope.cli.options import Color
from gradscope.errors import ExitCode, GradscopeError
from gradscope.report.shared.glyphs import Glyphs, glyphs_for
from gradscope.report.terminal.lines import Line, paragraph, print_lines


def show_error(error: GradscopeError) -> ExitCode:
    """What, why, the details as they are, what to do, and the command that explains the error."""
    glyphs = glyphs_for(sys.stderr.encoding)
    width = screen.width(to_file=False)
    lines = paragraph(glyphs.text(error.what), width, 0, "strong", ("error: ", "error"))
    if error.why:
        lines += paragraph(glyphs.text(error.why), width, 2)
    lines += as_they_are(error.details, glyphs)
    if error.fix:
        lines += paragraph(glyphs.text(error.fix), width, 2, "", (f"{glyphs.arrow} ", "remedy"))
    if error.slug:
        lines += paragraph(f"gradscope explain {error.slug}", width, 2, "quiet")
    print_lines(lines, sys.stderr, screen.colored(sys.stderr, Color.AUTO))
    return error.exit_code


@contextmanager
def interruption_shown() -> Iterator[None]:
    """Print one sentence on Ctrl-C before the command ends; Typer would print none."""
    try:
        yield
    except KeyboardInterrupt:
        lines = paragraph("Interrupted before there was anything to report.", screen.width(to_file=False), 0)
        print_lines(lines, sys.stderr, screen.colored(sys.stderr, Color.AUTO))
        raise


def show_bug(error: Exception) -> ExitCode:
    """Show the traceback of a bug in gradscope; the only place that does."""
    glyphs = glyphs_for(sys.stderr.encoding)
    width = screen.width(to_file=False)
    lines: list[Line] = as_they_are("".join(traceback.format_exception(error)), glyphs)
    said = "gradscope failed, and your model is not to blame: nothing is said about it."
    lines += paragraph(said, width, 0, "strong", ("sorry: ", "error"))
    lines += paragraph("Please report it with the lines above.", width, 2)
    print_lines(lines, sys.stderr, screen.colored(sys.stderr, Color.AUTO))
    return ExitCode.INTERNAL


def as_they_are(text: str, glyphs: Glyphs) -> list[Line]:
    """Lines with their breaks and indents kept and their escape sequences removed."""
    return [[(f"  {glyphs.text(line)}", "")] for line in text.expandtabs(4).split("\n") if line.strip()]

"""`gradscope explain RULE`: the page of one rule."""

from __future__ import annotations

import io
import json
import sys
from typing import Annotated

import typer

from gradscope import rules
from gradscope.cli import completion, screen
from gradscope.cli.options import Color, ColorMode, Format, check_format, examples
from gradscope.cli.rules import described
from gradscope.report.shared.glyphs import glyphs_for
from gradscope.serialization.report_json import FORMAT

EPILOG = examples("gradscope explain vanishing-gradient", "gradscope explain non-finite > non-finite.md")
WIDEST = 100
"""A page is prose: longer lines are hard to read."""
HEADINGS = ("markdown.h1", "markdown.h2", "markdown.h3")
CODE = ("markdown.code", "markdown.code_block")

Name = Annotated[
    str,
    typer.Argument(
        metavar="RULE",
        help="A name from `gradscope rules`.",
        show_default=False,
        autocompletion=completion.rule,
    ),
]


def explain(rule: Name, format: Format = "terminal", color: ColorMode = Color.AUTO) -> None:
    """Say what a rule means, how it is measured, and what to do."""
    check_format(format, ("terminal", "json"))
    found = rules.get(rule)
    if format == "json":
        entry = {"format": FORMAT, "rule": {**described(found), "page": found.page}}
        screen.emit(json.dumps(entry, indent=1, allow_nan=False) + "\n")
    else:
        screen.emit(page(found.name, found.page, screen.colored(sys.stdout, color)))


def page(name: str, text: str, color: bool) -> str:
    """Laid out on a terminal; the Markdown itself anywhere else, to be piped into a file."""
    source = f"# {name}\n\n{text}\n"
    glyphs = glyphs_for(sys.stdout.encoding)
    if glyphs.encoding:
        return "\n".join(glyphs.text(line) for line in source.split("\n"))
    if not (color or sys.stdout.isatty()):
        return source
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    out = io.StringIO()
    console = Console(
        file=out,
        width=min(WIDEST, screen.width(to_file=False)),
        color_system="standard" if color else None,
        force_terminal=color,
        theme=Theme(dict.fromkeys(HEADINGS, "bold") | dict.fromkeys(CODE, "cyan")),
        _environ={},
    )
    console.print(name, style="bold", markup=False, highlight=False)
    console.print()
    console.print(Markdown(text, code_theme="ansi_dark", hyperlinks=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"

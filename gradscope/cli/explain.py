"""`gradscope explain RULE`: the page of one rule."""

from __future__ import annotations

import io
import json
import sys
from typing import Annotated

import typer

from gradscope import rules
from gradscope.cli import screen
from gradscope.cli.options import Color, ColorMode, Format, check_format
from gradscope.cli.rules import described
from gradscope.recording import FORMAT

EPILOG = "Example: **gradscope explain vanishing-gradient**"
WIDEST = 100
"""A page is prose: longer lines are hard to read."""

Name = Annotated[
    str,
    typer.Argument(metavar="RULE", help="A name from `gradscope rules`.", show_default=False),
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
    if not (color or sys.stdout.isatty()):
        return source
    from rich.console import Console
    from rich.markdown import Markdown

    width = min(WIDEST, screen.width(to_file=False))
    system = "standard" if color else None
    console = Console(file=io.StringIO(), width=width, color_system=system, force_terminal=color, _environ={})
    with console.capture() as captured:
        console.print(Markdown(source, code_theme="ansi_dark", hyperlinks=False))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"

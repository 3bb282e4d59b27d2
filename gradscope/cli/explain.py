"""`gradscope explain NAME`: the page of a rule, the section on an error, how to read the table; `--symptom`:
what to run for what one sees."""

from __future__ import annotations

import io
import json
import sys
from typing import Annotated

import typer

from gradscope.cli import completion, error_pages, pager, screen
from gradscope.cli.options import OUTPUT, PAGE_FORMATS, ColorMode, PageFormat, check_format, examples
from gradscope.cli.page_layout import laid_out
from gradscope.cli.screen import Color
from gradscope.errors import GradscopeError
from gradscope.language import ENGLISH, pages, speak, spoken, translate
from gradscope.report.shared.glyphs import glyphs_for
from gradscope.report.terminal.lines import print_lines, wrap
from gradscope.rules import sources

EPILOG = examples(
    "gradscope explain vanishing-gradient",
    'gradscope explain --symptom "loss is nan"',
    "gradscope explain table",
    "gradscope explain no-batches",
    "gradscope explain non-finite > non-finite.md",
)
WIDEST = 100
"""A page is prose: longer lines are hard to read."""

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="A rule that `gradscope rules` lists, the name that an error message ends with, or table: how "
        "to read the table of layers.",
        show_default=False,
        autocompletion=completion.rule,
    ),
]


NoPager = Annotated[
    bool,
    typer.Option(
        "--no-pager",
        help="Write the page at once; otherwise one longer than the screen is shown with $PAGER, or less.",
        rich_help_panel=OUTPUT,
    ),
]


Symptom = Annotated[
    str | None,
    typer.Option(
        metavar="WORDS",
        help="What you see, such as nan or 'validation rises': what to run, and what to read.",
        show_default=False,
    ),
]


def explain(
    name: Name = None,
    symptom: Symptom = None,
    format: PageFormat = "terminal",
    color: ColorMode = Color.AUTO,
    no_pager: NoPager = False,
) -> None:
    """Explain a rule (what it measures, what it means, what to do), an error message, or the table."""
    check_format(format, PAGE_FORMATS)
    if (name is None) == (symptom is None):
        raise GradscopeError(
            "Give either a name or --symptom.",
            fix="`gradscope rules` lists the rules; --symptom nan begins with what you see.",
            slug="bad-option",
        )
    if format == "json":
        speak(ENGLISH)
    kind, title, text = _found(name) if name is not None else _seen(symptom or "")
    if format == "json":
        screen.emit(_as_json(kind, title, text))
    else:
        pager.show(page(title, text, screen.colored(sys.stdout, color)), paged=not no_pager)


def _found(name: str) -> tuple[str, str, str]:
    """What is known by this name: its kind, title and page. Raises `GradscopeError` where nothing is."""
    if name in sources.files():
        return "rule", name, _translated(pages.of_rule(name), sources.page(name))
    if name == error_pages.TABLE and (text := error_pages.table()):
        return "page", translate("How to read the table of layers"), text
    errors = error_pages.sections()
    if name in errors:
        return "error", name, errors[name]
    from gradscope.rules.registry import unknown

    raise unknown("rule or error", name, [*sources.files(), *errors, error_pages.TABLE])


def _translated(found: str | None, english: str) -> str:
    """A page, and where there is none in the spoken language the English one after a line that says so."""
    if found is not None or spoken() == ENGLISH:
        return found or english
    return f"*{translate('This page is not translated yet: it follows in English.')}*\n\n{english}"


def _seen(words: str) -> tuple[str, str, str]:
    """The sections on what one sees. Raises `GradscopeError` where no word is known."""
    found = error_pages.symptoms_like(words)
    if not found:
        raise GradscopeError(
            f'No symptom has a word of "{words}".',
            why=f"The symptoms that are known: {'; '.join(error_pages.symptoms())}.",
            fix='Use words of these, as in `gradscope explain --symptom "does not move"`.',
            slug="bad-option",
        )
    if len(found) == 1:
        ((title, text),) = found.items()
        return "page", title, text
    return (
        "page",
        translate("By symptom"),
        "\n\n".join(f"### {title}\n\n{text}" for title, text in found.items()),
    )


def _as_json(kind: str, title: str, text: str) -> str:
    from gradscope import rules
    from gradscope.cli.rules import described
    from gradscope.serialization.report_json import FORMAT

    facts = described(rules.get(title)) if kind == "rule" else {"name": title}
    return json.dumps({"format": FORMAT, kind: {**facts, "page": text}}, indent=1, allow_nan=False) + "\n"


def page(name: str, text: str, color: bool) -> str:
    """Laid out on a terminal; the Markdown itself anywhere else, to be piped into a file."""
    source = f"# {name}\n\n{text}\n"
    glyphs = glyphs_for(sys.stdout.encoding)
    if glyphs.encoding:
        return "\n".join(glyphs.text(line) for line in source.split("\n"))
    if not (color or sys.stdout.isatty()):
        return source
    width = min(WIDEST, screen.width(to_file=False))
    title = [[(piece, "strong")] for piece in wrap(name, width)]
    lines = [*title, [], *laid_out(text, width, color)]
    out = io.StringIO()
    print_lines(lines, out, color)
    return out.getvalue()

"""The options that several commands share: one name, one meaning, one help text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

import typer

from gradscope.cli import completion
from gradscope.errors import GradscopeError
from gradscope.gate import policy as gate_policy
from gradscope.records import Policy
from gradscope.report import FORMATS

RENDERING = "What is shown"


class Color(StrEnum):
    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def fail_on_option(default: str) -> Any:
    """`--fail-on`, for a command that judges by this where it is not given."""
    return typer.Option(
        metavar="WHAT",
        help="Answer exit code 1 on these: error, warning, note, or names of rules, with commas; or never.",
        show_default=default,
        autocompletion=completion.policy,
    )


FailOn = Annotated[str | None, fail_on_option("error")]
Format = Annotated[
    str,
    typer.Option(
        metavar="|".join(FORMATS),
        help="How to write the report.",
        rich_help_panel=RENDERING,
        autocompletion=completion.format_name,
    ),
]
MoreReports = Annotated[
    list[str] | None,
    typer.Option(
        "--report",
        metavar="FORMAT=FILE",
        help="Write the report to this file, too: html=report.html; repeat for several.",
        autocompletion=completion.format_and_file,
        show_default=False,
        rich_help_panel=RENDERING,
    ),
]
RecordSvg = Annotated[
    str | None,
    typer.Option(
        "--record-svg",
        metavar="FILE",
        help="Keep a picture of what the terminal shows: --report svg=FILE.",
        show_default=False,
        rich_help_panel=RENDERING,
    ),
]
Save = Annotated[
    str | None,
    typer.Option(
        metavar="RUN.json",
        help="Keep the run, for `gradscope report` and `gradscope diff`.",
        show_default=False,
        rich_help_panel=RENDERING,
    ),
]
NoProgress = Annotated[
    bool,
    typer.Option(
        "--no-progress", metavar="", help="No line that says what is being done.", rich_help_panel=RENDERING
    ),
]
NoTiming = Annotated[
    bool,
    typer.Option(
        "--no-timing",
        metavar="",
        help="Leave out how long it took: the same input then gives the same bytes.",
        rich_help_panel=RENDERING,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        metavar="",
        help="The evidence of each finding; of several targets, each one's whole report.",
        rich_help_panel=RENDERING,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        metavar="FILE", help="Where to write the report; - is the screen.", rich_help_panel=RENDERING
    ),
]
ShowAll = Annotated[
    bool,
    typer.Option("--all", metavar="", help="Show every layer and every finding.", rich_help_panel=RENDERING),
]
ColorMode = Annotated[
    Color,
    typer.Option("--color", help="auto: only on a terminal.", rich_help_panel=RENDERING),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", metavar="", help="Only the verdict and the findings.", rich_help_panel=RENDERING
    ),
]


def policy(fail_on: str | None, more_rules: Iterable[str] = ()) -> Policy:
    """What `--fail-on` says, or the default; where no rule is named, none is imported."""
    if fail_on is None:
        return Policy()
    return gate_policy.parse(fail_on, more_rules)


def one_of(option: str, value: str, known: Sequence[str]) -> str:
    """`value`, which is in `known`; for any other the error names all of them, the nearest first."""
    if value not in known:
        near = get_close_matches(value.lower(), known, n=1)
        raise GradscopeError(
            f'"{option} {value}" is not known.',
            fix=f"{f'Did you mean {near[0]}? ' if near else ''}Use one of: {', '.join(known)}.",
            slug="bad-option",
        )
    return value


def source_of(target: str) -> str:
    """The file of a target, without the name after the colon."""
    return target.rpartition(":")[0] or target


def examples(*commands: str) -> str:
    """The end of a help page; blank lines keep the commands on lines of their own."""
    return "\n\n".join(["Examples:", *(f"**{command}**" for command in commands)])


def names_in(values: Iterable[str]) -> tuple[str, ...]:
    """The names given by repeated options, with commas, or both."""
    names = (name.strip() for value in values for name in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def check_format(name: str, known: Iterable[str]) -> None:
    formats = list(known)
    if name not in formats:
        raise GradscopeError(
            f'There is no format "{name}".',
            fix=f"Use one of: {', '.join(formats)}.",
            slug="unknown-format-name",
        )

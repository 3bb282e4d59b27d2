"""The options that several commands share: each has one name, one meaning and one help text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradscope.cli import completion
from gradscope.cli.screen import Color
from gradscope.errors import GradscopeError
from gradscope.report import FORMATS

if TYPE_CHECKING:
    from gradscope.records import Policy

OUTPUT = "Output"
GATE = "Exit code"
PAGE_FORMATS = ("terminal", "json")
"""Of the commands that show pages of their own, not a report."""


def fail_on_option(default: str) -> Any:
    """`--fail-on`, for a command with this default."""
    return typer.Option(
        metavar="POLICY",
        help="Exit with code 1 if any of these is found: severities (error, warning, note) or names of "
        "rules, separated by commas; or never.",
        show_default=default,
        rich_help_panel=GATE,
        autocompletion=completion.policy,
    )


FailOn = Annotated[str | None, fail_on_option("error")]
Format = Annotated[
    str,
    typer.Option(
        metavar="FORMAT",
        help=f"Format of the report: {', '.join(FORMATS)}.",
        rich_help_panel=OUTPUT,
        autocompletion=completion.format_name,
    ),
]
PageFormat = Annotated[
    str,
    typer.Option(
        metavar="FORMAT",
        help=f"Format of the page: {', '.join(PAGE_FORMATS)}.",
        rich_help_panel=OUTPUT,
        autocompletion=completion.format_name,
    ),
]
MoreReports = Annotated[
    list[str] | None,
    typer.Option(
        "--report",
        metavar="FORMAT=FILE",
        help="Also write the report to a file, e.g. html=report.html; repeat for several files.",
        autocompletion=completion.format_and_file,
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Save = Annotated[
    str | None,
    typer.Option(
        metavar="RUN.json",
        help="Save the run for `gradscope report` and `gradscope diff`.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
NoProgress = Annotated[
    bool,
    typer.Option("--no-progress", help="Do not show the progress line on stderr.", rich_help_panel=OUTPUT),
]
NoTiming = Annotated[
    bool,
    typer.Option(
        "--no-timing",
        help="Leave out timings, so that the same input gives the same bytes.",
        rich_help_panel=OUTPUT,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Show the evidence of each finding and, for several targets, each full report.",
        rich_help_panel=OUTPUT,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        metavar="FILE", help="File to write the report to; - is standard output.", rich_help_panel=OUTPUT
    ),
]
ShowAll = Annotated[
    bool,
    typer.Option("--all", help="Show every layer and every finding.", rich_help_panel=OUTPUT),
]
ColorMode = Annotated[
    Color,
    typer.Option("--color", help="When to use color; auto: only on a terminal.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show only the verdict and the findings.", rich_help_panel=OUTPUT),
]


def policy(fail_on: str | None, more_rules: Iterable[str] = ()) -> Policy:
    """The policy of `--fail-on`, or the default; rules are imported only if one is named."""
    from gradscope.gate import policy as gate_policy

    return gate_policy.Policy() if fail_on is None else gate_policy.parse(fail_on, more_rules)


def one_of(option: str, value: str, known: Sequence[str]) -> str:
    """`value` if it is in `known`; else a `GradscopeError` that names the nearest and all of them."""
    if value not in known:
        from difflib import get_close_matches

        near = get_close_matches(value.lower(), known, n=1)
        raise GradscopeError(
            f'"{option} {value}" is not a valid value.',
            fix=f"{f'Did you mean {near[0]}? ' if near else ''}Use one of: {', '.join(known)}.",
            slug="bad-option",
        )
    return value


def seconds_in(text: str | None, option: str = "--budget") -> float | None:
    """`90`, `90s`, `1.5m`, `1h` as seconds."""
    if text is None:
        return None
    number, unit = text.strip().rstrip("smh"), text.strip()[len(text.strip().rstrip("smh")) :]
    try:
        value = float(number) * {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}[unit]
    except (ValueError, KeyError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise GradscopeError(
            f'"{option} {text}" is not a time.', fix="Write 60s, 5m or 1h.", slug="bad-option"
        )
    return value


def sizes_in(option: str, text: str | None) -> tuple[int, ...]:
    """`64,128,256` as numbers, rising."""
    if text is None:
        return ()
    try:
        found = sorted({int(part) for part in text.split(",") if part.strip()})
    except ValueError:
        found = []
    if len(found) < 2 or found[0] < 1:
        raise GradscopeError(
            f'"{option} {text}" does not name two sizes.',
            why="Growth takes two sizes at least, each a whole number above 0.",
            fix=f"Give several, such as {option} 64,128,256.",
            slug="bad-option",
        )
    return tuple(found)


def source_of(target: str) -> str:
    """The file of a target, without the name after the colon."""
    return target.rpartition(":")[0] or target


def examples(*commands: str) -> str:
    """The examples at the end of a help page; blank lines keep each command on its own line."""
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

"""`--baseline` and `--write-baseline`: read in each run of a target, written once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from gradscope import against, baseline
from gradscope.cli import screen
from gradscope.records import Policy, Suite

BASELINES = "What is known"

Seeds = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Begin from N seeds, from --seed on; a finding of most of them counts.",
        show_default="1",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Fail only on what this file does not know, or what is clearly worse.",
        show_default=False,
        rich_help_panel=BASELINES,
    ),
]
WriteBaseline = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Write what is found now as known, to gradscope-baseline.json for instance; answers 0.",
        show_default=False,
        rich_help_panel=BASELINES,
    ),
]


def never_failing(suite: Suite) -> Suite:
    """A run that writes a baseline takes what it finds as given: only what could not be judged fails."""
    return replace(suite, outcomes=tuple(replace(outcome, policy=Policy(())) for outcome in suite.outcomes))


def write(path: str, suite: Suite, targets: Sequence[str], *, quiet: bool = False) -> None:
    """`targets` are the paths of the outcomes, from the working directory. One that could not be judged keeps
    the entry that it had."""
    entries = {
        baseline.key_of(target, path): against.entry_of(outcome.report)
        for target, outcome in zip(targets, suite.outcomes, strict=True)
        if outcome.report is not None
    }
    baseline.save(path, entries)
    if not quiet:
        known = sum(len(entry.findings) for entry in entries.values())
        screen.tell(f"wrote {path}: {_count(known, 'known finding')} in {_count(len(entries), 'target')}")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

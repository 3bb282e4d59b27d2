"""`--baseline` and `--write-baseline`: read in each run of a target, written once for all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from gradscope.cli import screen
from gradscope.config import TargetPlan
from gradscope.gate import baseline_file, baseline_status
from gradscope.records import Report, Suite
from gradscope.records.options import CheckOptions, MonitorOptions
from gradscope.report.shared import units

BASELINE = "Baseline"

Seeds = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Repeat with N seeds, starting at --seed; report the findings that occur in a majority of them.",
        show_default="1",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Fail only on findings that are new or clearly worse than in this baseline.",
        show_default=False,
        rich_help_panel=BASELINE,
    ),
]
WriteBaseline = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Record the current findings as the accepted baseline, e.g. in gradscope-baseline.json, and "
        "do not fail on them.",
        show_default=False,
        rich_help_panel=BASELINE,
    ),
]


Baselines = Mapping[str, baseline_file.Baseline]
"""By the path that the tasks name."""


def ready(plan: TargetPlan, written: str | None) -> tuple[TargetPlan, Baselines]:
    """The plan with the baselines that it compares with, which are read here and nowhere else.

    Tells once, and before anything runs, what is wrong with the baselines; `written` is the one to write.

    One that the configuration names already, and that is only now written, is not compared with.
    """
    if written is not None:
        baseline_file.check_writable(written)
    found: dict[str, baseline_file.Baseline] = {}
    for path in dict.fromkeys(task.checking.baseline for task in plan.tasks):
        if path is not None and written is not None and not os.path.exists(path):
            return plan.without_baseline(), {}
        if path is not None:
            found[path] = baseline_file.Baseline.read(path)
    return plan, found


def of_one(path: str | None, written: str | None) -> baseline_file.Baseline | None:
    """The baseline that one target is compared with. Raises `GradscopeError` as `ready` does."""
    if written is not None:
        baseline_file.check_writable(written)
    return None if path is None else baseline_file.Baseline.read(path)


def compared(report: Report, known: baseline_file.Baseline, target: str, options: MonitorOptions) -> Report:
    """The report of a training with the standing of each finding."""
    asked = CheckOptions(select=options.select, ignore=options.ignore)
    return baseline_status.compared(report, known.path, known.entry(target), asked)


def tell_of_gone(known: Baselines) -> None:
    """A report speaks of its own target, so a target that nobody checks any more is told here."""
    for path, baseline in known.items():
        if names := baseline.gone():
            screen.tell(f"{path} is stale: it holds {', '.join(names)}, whose file is gone. Write it again.")


def write(path: str, suite: Suite, targets: Sequence[str], *, quiet: bool = False) -> None:
    """`targets` are the paths of the outcomes, from the working directory. One that could not be judged keeps
    the entry that it had."""
    entries = {
        baseline_file.key_of(target, path): baseline_status.entry_of(outcome.report)
        for target, outcome in zip(targets, suite.outcomes, strict=True)
        if outcome.report is not None
    }
    baseline_file.save(path, entries)
    if not quiet:
        known = sum(len(entry.findings) for entry in entries.values())
        said = f"{units.counted(known, 'known finding')} in {units.counted(len(entries), 'target')}"
        screen.tell(f"wrote {path}: {said}")

"""`--against RUN.json --fail-on regression:5%`: the user's optimizer against a saved run, as a gate."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated

import typer

from gradscope.cli.options import GATE
from gradscope.errors import ExitCode, GradscopeError
from gradscope.gate import policy
from gradscope.records import Comparison, Report
from gradscope.serialization import report_json

NEVER = policy.NEVER

Against = Annotated[
    str | None,
    typer.Option(
        metavar="RUN.json",
        help="Compare your optimizer with its result in this saved run.",
        show_default=False,
        rich_help_panel=GATE,
    ),
]
FailOnRegression = Annotated[
    str,
    typer.Option(
        metavar="regression:N%",
        help="Exit with code 1 if your optimizer loses more than N% of the improvement it made in the saved "
        "run; needs --against.",
        rich_help_panel=GATE,
    ),
]


def parsed(fail_on: str, against: str | None) -> tuple[float | None, Comparison | None]:
    """The share that may be lost, and the saved comparison; raises where only one of them is given."""
    if fail_on == NEVER:
        return None, None if against is None else _saved(against)
    found = re.fullmatch(r"regression:(\d+(?:\.\d+)?)%", fail_on.strip())
    if found is None:
        raise GradscopeError(
            f'"--fail-on {fail_on}" does not say what to fail on.',
            why="This command judges nothing but your optimizer against a saved run.",
            fix="Write `--fail-on regression:5%`, or `never`.",
            slug="unknown-policy",
        )
    if against is None:
        raise GradscopeError(
            f'"--fail-on {fail_on}" needs a run to compare with.',
            fix="Save one with `--save RUN.json`, and give it with `--against RUN.json`.",
            slug="unknown-policy",
        )
    return float(found[1]) / 100.0, _saved(against)


def _saved(path: str) -> Comparison:
    comparison = report_json.load(path).measurement.optimizers
    if comparison is None:
        raise GradscopeError(
            f'"{path}" holds no comparison of optimizers.',
            why="It was written by another command.",
            fix="Write one with `gradscope compare-optimizers TARGET --save RUN.json`.",
            slug="unreadable-report",
        )
    return comparison


def gated(report: Report, before: Comparison | None, limit: float | None) -> tuple[Report, ExitCode]:
    """The report with a sentence on what changed since the saved run, and the exit code."""
    now = report.measurement.optimizers
    if now is None or before is None:
        return report, ExitCode.CLEAN
    lost, text = policy.regression(now, before)
    failed = limit is not None and lost > limit
    if failed and limit is not None:
        text += f" More than the limit of {100 * limit:g}%."
    told = replace(now, reasons=(*now.reasons, text))
    report = replace(report, measurement=replace(report.measurement, optimizers=told))
    return report, ExitCode.FINDINGS if failed else ExitCode.CLEAN

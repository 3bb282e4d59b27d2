"""`--against RUN.json --fail-on regression:5%`: the user's optimizer against a saved run, as a gate."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from gradscope.cli.options import GATE, policy
from gradscope.errors import GradscopeError
from gradscope.gate import saved_comparison
from gradscope.records import Comparison, Policy

RULE = "optimizer-regression"
Limits = dict[str, dict[str, float]]

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
    str | None,
    typer.Option(
        metavar="WHAT",
        help="Exit with code 1 if your optimizer loses more than N% of the improvement it made in the saved "
        "run: regression:N%. Takes severities, names of rules and never, too.",
        show_default="error",
        rich_help_panel=GATE,
    ),
]


def parsed(fail_on: str | None, against: str | None) -> tuple[Policy, Limits, Comparison | None]:
    """What fails the run, the limit that it names, and the saved comparison.

    Raises where a regression is to fail and there is no saved run.
    """
    entries, limits = [], Limits()
    for entry in ("error" if fail_on is None else fail_on).split(","):
        if entry.strip().startswith("regression"):
            limits[RULE] = {"lost": _share(entry.strip())}
            entry = RULE
        entries.append(entry)
    policed = policy(",".join(entries))
    if RULE in policed.fail_on and against is None:
        raise GradscopeError(
            f'"--fail-on {fail_on}" needs a run to compare with.',
            fix="Save one with `--save RUN.json`, and give it with `--against RUN.json`.",
            slug="unknown-policy",
        )
    return policed, limits, None if against is None else saved_comparison.load(against)


def _share(entry: str) -> float:
    found = re.fullmatch(r"regression:(\d+(?:\.\d+)?)%", entry)
    if found is None or not float(found[1]):
        raise GradscopeError(
            f'"--fail-on {entry}" does not say what to fail on.',
            why="A regression is given as a share above 0% of the improvement that may be lost.",
            fix="Write `--fail-on regression:5%`, or `never`.",
            slug="unknown-policy",
        )
    return float(found[1]) / 100.0

"""`gradscope diff OLD.json NEW.json`: what changed between two saved runs, layer by layer, without JAX."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from gradscope.changes import compare
from gradscope.cli import completion
from gradscope.cli.delivery import SCREEN, Delivery
from gradscope.cli.options import (
    OUTPUT,
    ColorMode,
    Output,
    Quiet,
    ShowAll,
    check_format,
    examples,
    fail_on_option,
    policy,
)
from gradscope.cli.screen import Color
from gradscope.errors import ExitCode
from gradscope.gate import policy as gate_policy
from gradscope.records import Policy
from gradscope.report.diff import RENDERERS
from gradscope.serialization import suite_json

EPILOG = examples(
    "gradscope diff init.json step9000.json",
    "gradscope diff main.json branch.json --fail-on error",
    "gradscope diff old.json new.json --format json",
)

Old = Annotated[
    str, typer.Argument(metavar="OLD.json", help="A run that was saved with --save.", show_default=False)
]
New = Annotated[
    str, typer.Argument(metavar="NEW.json", help="A later run to compare with it.", show_default=False)
]
Format = Annotated[
    str,
    typer.Option(
        metavar="FORMAT",
        help=f"Format of the changes: {', '.join(RENDERERS)}.",
        rich_help_panel=OUTPUT,
        autocompletion=completion.format_name,
    ),
]
FailOnNew = Annotated[str, fail_on_option(gate_policy.NEVER)]


def diff(
    old: Old,
    new: New,
    fail_on: FailOnNew = gate_policy.NEVER,
    format: Format = "terminal",
    output: Output = SCREEN,
    show_all: ShowAll = False,
    color: ColorMode = Color.AUTO,
    quiet: Quiet = False,
) -> None:
    """Show what changed between two saved runs. `--fail-on` considers new findings only."""
    check_format(format, RENDERERS)
    before, after = suite_json.load(old, Policy()), suite_json.load(new, Policy())
    delivery = Delivery(output=output, show_all=show_all, color=color, quiet=quiet)
    delivery.prepare(old, new)
    policed = policy(fail_on, [f.rule for report in after.reports for f in report.findings])
    found = compare.suite_changes(before, after)
    delivery.show(partial(RENDERERS[format], found))
    # A target that only the new run has is new with all of its findings.
    appeared = [finding for each in found.targets for finding in each.new_findings]
    appeared += [f for o in after.outcomes if o.target in found.new and o.report for f in o.report.findings]
    raise typer.Exit(ExitCode.FINDINGS if any(map(policed.fails, appeared)) else ExitCode.CLEAN)

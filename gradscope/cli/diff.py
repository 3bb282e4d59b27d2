"""`gradscope diff OLD.json NEW.json`: what changed between two saved runs, layer by layer, without JAX."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from gradscope import changes, gate, recording
from gradscope.cli.delivery import SCREEN, Delivery
from gradscope.cli.options import (
    RENDERING,
    Color,
    ColorMode,
    FailOn,
    Output,
    Quiet,
    ShowAll,
    check_format,
    examples,
    policy,
)
from gradscope.records import Suite
from gradscope.report.changes import RENDERERS

EPILOG = examples(
    "gradscope diff init.json step9000.json",
    "gradscope diff main.json branch.json --fail-on error",
    "gradscope diff old.json new.json --format json",
)

Old = Annotated[
    str, typer.Argument(metavar="OLD.json", help="Written by `gradscope check --save`.", show_default=False)
]
New = Annotated[
    str, typer.Argument(metavar="NEW.json", help="The run to compare with it.", show_default=False)
]
Format = Annotated[
    str,
    typer.Option(metavar="|".join(RENDERERS), help="How to write the changes.", rich_help_panel=RENDERING),
]


def diff(
    old: Old,
    new: New,
    fail_on: FailOn = gate.NEVER,
    format: Format = "terminal",
    output: Output = SCREEN,
    show_all: ShowAll = False,
    color: ColorMode = Color.AUTO,
    quiet: Quiet = False,
) -> None:
    """Show what changed between two saved runs. `--fail-on` looks at new findings only."""
    check_format(format, RENDERERS)
    before, after = recording.load(old), recording.load(new)
    delivery = Delivery(output=output, show_all=show_all, color=color, quiet=quiet)
    delivery.prepare(old, new)
    policed = policy(fail_on, [finding.rule for finding in after.findings])
    found = changes.changes(before, after)
    delivery.show(partial(RENDERERS[format], found))
    raise typer.Exit(gate.exit_code(Suite.of(replace(after, findings=found.new_findings), policed)))

"""`gradscope report RUN.json`: show a saved run again, in any format, without JAX."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope import recording
from gradscope.cli.delivery import SCREEN, Delivery
from gradscope.cli.options import Color, ColorMode, FailOn, Format, Output, Quiet, ShowAll, examples

EPILOG = examples("gradscope report run.json --all", "gradscope report run.json --fail-on warning")

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN.json", help="Written by `gradscope check --save RUN.json`.", show_default=False
    ),
]


def report(
    run: Run,
    fail_on: FailOn = "error",
    format: Format = "terminal",
    output: Output = SCREEN,
    show_all: ShowAll = False,
    color: ColorMode = Color.AUTO,
    quiet: Quiet = False,
) -> None:
    """Show a saved run again, and judge it; your model is not run."""
    saved = recording.load(run)
    delivery = Delivery(format, output, fail_on, show_all, color, quiet)
    # A run may hold findings of rules that this gradscope does not have.
    policy = delivery.prepare(run, [finding.rule for finding in saved.findings])
    raise typer.Exit(delivery.deliver(saved, policy))

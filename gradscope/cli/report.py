"""`gradscope report RUN.json`: show a saved run again, in any format, without JAX."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from gradscope import suites
from gradscope.cli.delivery import Delivery, rendering_options
from gradscope.cli.groups import with_options
from gradscope.cli.options import examples, policy
from gradscope.records import Policy, Suite

EPILOG = examples("gradscope report run.json --all", "gradscope report run.json --fail-on warning")

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN.json", help="Written by `gradscope check --save RUN.json`.", show_default=False
    ),
]


FailOn = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="Answer exit code 1 on these: error, warning, note, or names of rules, with commas; or never.",
        show_default="as it was saved; error",
    ),
]


@with_options(delivery=rendering_options)
def report(run: Run, delivery: Delivery, fail_on: FailOn = None) -> None:
    """Show a saved run again, and judge it; your model is not run."""
    delivery.prepare(run)
    saved = suites.load(run, Policy())
    # A run may hold findings of rules that this gradscope does not have.
    known = [finding.rule for report in saved.reports for finding in report.findings]
    raise typer.Exit(delivery.deliver(judged(saved, None if fail_on is None else policy(fail_on, known))))


def judged(suite: Suite, by: Policy | None) -> Suite:
    """The run as `by` judges it; by default each target by the policy that it was saved with."""
    return (
        suite if by is None else replace(suite, outcomes=tuple(replace(o, policy=by) for o in suite.outcomes))
    )

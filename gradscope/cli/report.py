"""`gradscope report RUN.json`: show a saved run again, in any format, without JAX."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope.cli.delivery import Delivery, rendering_options
from gradscope.cli.groups import with_options
from gradscope.cli.options import examples, fail_on_option, policy
from gradscope.recording.file import is_recording
from gradscope.records import Policy, Suite
from gradscope.runs.monitor import judged_recording
from gradscope.serialization import suite_json

EPILOG = examples(
    "gradscope report run.json --all",
    "gradscope report run.json --fail-on warning",
    "gradscope report run.jsonl --report html=run.html",
)

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN.json",
        help="A run that was saved with --save, or a recording that monitor wrote.",
        show_default=False,
    ),
]


# By default each target is judged by the policy that it was saved with.
FailOn = Annotated[str | None, fail_on_option("the policy of the saved run")]


@with_options(delivery=rendering_options)
def report(run: Run, delivery: Delivery, fail_on: FailOn = None) -> None:
    """Show a saved run or a recording in any format, and exit with its code; no model is run."""
    delivery.prepare(run)
    saved = Suite.of(judged_recording(run)) if is_recording(run) else suite_json.load(run, Policy())
    # A run may hold findings of rules that this gradscope does not have.
    known = [finding.rule for report in saved.reports for finding in report.findings]
    if fail_on is not None:
        saved = saved.judged_by(policy(fail_on, known))
    raise typer.Exit(delivery.deliver(saved))

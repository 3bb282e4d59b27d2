"""`gradscope report RUN.json`: show a saved run again, in any format, without JAX."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from gradscope.cli import completion
from gradscope.cli.delivery import Delivery, format_and_file, rendering_options
from gradscope.cli.groups import with_options
from gradscope.cli.options import OUTPUT, examples, fail_on_option, policy
from gradscope.recording.file import is_recording
from gradscope.records import Policy, Suite
from gradscope.serialization import suite_json

EPILOG = examples(
    "gradscope report run.json --all",
    "gradscope report run.json --fail-on warning",
    "gradscope report run.jsonl --report html=run.html",
    "gradscope report run.jsonl --export csv=run.csv --export parquet=run.parquet",
)

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN.json",
        help="A run that was saved with --save, or a recording that monitor wrote.",
        show_default=False,
    ),
]

Exports = Annotated[
    list[str] | None,
    typer.Option(
        "--export",
        metavar="FORMAT=FILE",
        help="Also write the steps of a training as a table: csv or parquet; repeat for several files.",
        autocompletion=completion.export_and_file,
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]

# By default each target is judged by the policy that it was saved with.
FailOn = Annotated[str | None, fail_on_option("the policy of the saved run")]


@with_options(delivery=rendering_options)
def report(run: Run, delivery: Delivery, fail_on: FailOn = None, export: Exports = None) -> None:
    """Show a saved run or a recording in any format, and exit with its code; no model is run."""
    tables = [format_and_file(entry, "--export", "csv=run.csv") for entry in export or ()]
    delivery = replace(delivery, exports=tuple(tables))
    delivery.prepare(run)
    saved = _of_recording(run) if is_recording(run) else suite_json.load(run, Policy())
    # A run may hold findings of rules that this gradscope does not have.
    known = [finding.rule for report in saved.reports for finding in report.findings]
    if fail_on is not None:
        saved = saved.judged_by(policy(fail_on, known))
    raise typer.Exit(delivery.deliver(saved))


def _of_recording(path: str) -> Suite:
    from gradscope.runs.monitor import judged_recording  # with all rules, which judge it anew

    return Suite.of(judged_recording(path))

"""`gradscope fix TARGET`: remedies that were tried, ranked by what they brought; the best one as an edit."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from gradscope.cli import applying, screen
from gradscope.cli.configured import Configured, configured_file
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Given, Target, given_loading
from gradscope.cli.options import FailOn, examples, policy, seconds_in, source_of
from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import Suite
from gradscope.records.options import FixOptions
from gradscope.serialization import report_json

EPILOG = examples(
    "gradscope fix model.py",
    "gradscope fix model.py --diff | git apply",
    "gradscope fix model.py --apply",
    "gradscope fix model.py --exhaustive --seeds 5 --steps 300",
)
MAIN = (
    "--steps", "--seeds", "--budget", "--exhaustive", "--diff", "--apply", "--data", "--format", "--report",
)  # fmt: skip
Steps = Annotated[
    int | None,
    typer.Option(metavar="N", help="Number of steps of each training.", show_default="100, fewer where slow"),
]
Seeds = Annotated[int, typer.Option(metavar="N", help="Train each remedy from N seeds, starting at --seed.")]
Everything = Annotated[
    bool,
    typer.Option("--exhaustive", help="Try every remedy that is known, not only those for what was found."),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Try no further remedy after this time, for instance 60s or 1h.",
        show_default="5m",
    ),
]
Diff = Annotated[
    bool, typer.Option("--diff", help="Print the edit of the best remedy alone, as a unified diff.")
]
Apply = Annotated[bool, typer.Option("--apply", help="Write the best remedy's edit into the file.")]
Force = Annotated[
    bool, typer.Option("--force", help="Write it also into a file that has changes which git does not have.")
]


@with_options(loading=given_loading, configuration=configured_file, delivery=delivery_options)
def fix(
    target: Target,
    loading: Given,
    configuration: Configured,
    delivery: Delivery,
    steps: Steps = None,
    seeds: Seeds = 3,
    everything: Everything = False,
    budget: Budget = None,
    diff: Diff = False,
    apply: Apply = False,
    force: Force = False,
    fail_on: FailOn = None,
) -> None:
    """Try remedies in memory: what each brings in a short training, and the best one as an edit."""
    delivery.prepare(source_of(target))
    policed = policy(fail_on)
    options = FixOptions(steps, seeds, everything)
    options = options if budget is None else replace(options, budget_s=seconds_in(budget))
    if diff and apply:
        raise GradscopeError(
            "--diff and --apply cannot be given together.",
            why="The one prints the edit alone, the other writes it.",
            fix="Give one of them.",
            slug="bad-option",
        )
    if apply:
        applying.require_writable(source_of(target), force)
    (task,) = configuration.plan(loading, [target]).tasks

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope.processes import prepare
    from gradscope.runs.fix import fix as run_fix

    prepare.prepare_process()
    with delivery.judging(task.target, policed) as progress:
        report = run_fix(target, task.loading, options, progress=progress)
    best = report.remedies.best if report.remedies is not None else None
    stopped = report.remedies is not None and not report.remedies.complete
    if diff:
        text, folder = applying.portable(best.diff) if best is not None else ("", "")
        screen.emit(text)
        if folder:
            screen.tell(f"Its file is outside of the working directory: apply the edit in {folder}.")
        raise typer.Exit(ExitCode.INTERRUPTED if stopped else 0 if best is not None else 1)
    written = apply and not stopped and best is not None
    if written:
        with delivery.working() as progress:
            report = applying.applied(report, task.loading, force, progress)
    code = delivery.deliver(Suite.of(report_json.rounded(report), policed))
    if apply and not written:
        screen.tell("Nothing was written.")
    raise typer.Exit(ExitCode.INTERRUPTED if stopped else code)

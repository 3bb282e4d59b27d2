"""`gradscope monitor TARGET`: a training, watched while it runs; `--follow FILE` watches a recording."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope.cli import baselines
from gradscope.cli.baselines import Baseline, WriteBaseline
from gradscope.cli.configured import Configured, configured_file
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.failure import interruption_shown
from gradscope.cli.groups import with_options
from gradscope.cli.judging import Ignore, Select, known_rules
from gradscope.cli.loading import TARGET_HELP, Given, given_loading
from gradscope.cli.options import FailOn, examples, policy, source_of
from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import Ending, Policy, Suite
from gradscope.records.options import MonitorOptions
from gradscope.serialization import report_json

EPILOG = examples(
    "gradscope monitor model.py --steps 1000",
    "gradscope monitor model.py --steps 1000 --record run.jsonl",
    "gradscope monitor --follow run.jsonl",
    "gradscope monitor model.py --steps 1000 --baseline monitor-baseline.json",
)

MAIN = (
    "--steps", "--every", "--validate-every", "--record", "--follow", "--data", "--batch-size", "--fail-on",
    "--report", "--save",
)  # fmt: skip
MaybeTarget = Annotated[str | None, typer.Argument(metavar="TARGET", help=TARGET_HELP, show_default=False)]
Steps = Annotated[int, typer.Option(min=1, metavar="N", help="Number of training steps.")]
Every = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Measure the layers at every Nth step; the loss is known at each.",
        show_default="so that at most 1,000 steps are measured",
    ),
]
ValidateEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Steps between two looks at validation_batch.",
        show_default="20 looks in all",
    ),
]
Repeat = Annotated[
    bool,
    typer.Option("--repeat", help="Go through the batches of an iterator again when it ends."),
]
Record = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Append each measured step to this new file, which `gradscope report` and --follow read.",
        show_default=False,
    ),
]
Follow = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Watch a recording that is being written, without a TARGET.",
        show_default=False,
    ),
]


@with_options(loading=given_loading, configuration=configured_file, delivery=delivery_options)
def monitor(
    loading: Given,
    configuration: Configured,
    delivery: Delivery,
    target: MaybeTarget = None,
    steps: Steps = 200,
    every: Every = None,
    validate_every: ValidateEvery = None,
    repeat: Repeat = False,
    record: Record = None,
    follow: Follow = None,
    select: Select = None,
    ignore: Ignore = None,
    baseline: Baseline = None,
    write_baseline: WriteBaseline = None,
    fail_on: FailOn = None,
) -> None:
    """Train and watch every layer: gradients, updates and losses step by step, and what goes wrong when."""
    policed = policy(fail_on)
    chosen = known_rules(select), known_rules(ignore)
    if follow is not None:
        for given in (target, baseline, write_baseline):
            if given is not None:
                raise _both(given, follow)
        delivery.prepare(follow)
        from gradscope.cli import following

        raise typer.Exit(delivery.deliver(following.watched(follow, delivery, policed, *chosen)))
    if target is None:
        raise GradscopeError(
            "There is no TARGET.",
            fix="Name the file that defines the model, or a recording with --follow.",
            slug="bad-option",
        )
    inputs = (path for path in (source_of(target), baseline, write_baseline) if path is not None)
    delivery.prepare(*inputs)
    known = baselines.of_one(baseline, write_baseline)
    (task,) = configuration.plan(loading, [target]).tasks
    options = MonitorOptions(
        steps=steps,
        every=every,
        validate_every=validate_every,
        repeat=repeat,
        record=record,
        select=chosen[0] or task.checking.select,
        ignore=chosen[1] or task.checking.ignore,
        limits=task.checking.limits,
    )

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope.cli.live import LiveHistory
    from gradscope.processes import prepare
    from gradscope.runs.monitor import monitor as run_monitor

    prepare.prepare_process()
    with interruption_shown(), delivery.judging(task.target, policed) as progress:
        live = LiveHistory(progress)
        report = run_monitor(target, task.loading, options, watch=live, progress=progress)
    if known is not None:
        report = baselines.compared(report, known, target, options)
    suite = Suite.of(report_json.rounded(report), policed)
    # What is written as a baseline is taken as given, as in `check`.
    code = delivery.deliver(suite if write_baseline is None else suite.judged_by(Policy(())))
    if report.history is not None and report.history.ending is Ending.INTERRUPTED:
        code = ExitCode.INTERRUPTED
    elif write_baseline is not None:
        baselines.write(write_baseline, suite, [target], quiet=delivery.quiet)
    raise typer.Exit(code)


def _both(given: str, follow: str) -> GradscopeError:
    return GradscopeError(
        f'"{given}" stands beside --follow {follow}.',
        why="--follow watches what another process trains: a target and a baseline belong to that one.",
        fix="Give one of them.",
        slug="bad-option",
    )

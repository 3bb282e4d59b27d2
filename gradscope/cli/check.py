"""`gradscope check`: the main job, and the gate of a CI job."""

from __future__ import annotations

from contextlib import AbstractContextManager

import typer

from gradscope.cli import baselines, configured, screen
from gradscope.cli.baselines import WriteBaseline
from gradscope.cli.configured import Configured, configured_options
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.judging import given_judging
from gradscope.cli.loading import AnyTargets, Given, given_loading
from gradscope.cli.options import examples, source_of
from gradscope.cli.together import given_peers
from gradscope.config import TargetPlan
from gradscope.records import Policy, Suite
from gradscope.records.options import Peers
from gradscope.records.progress import Progress

EPILOG = examples(
    "gradscope check model.py",
    "gradscope check model.py:tiny --batches 4 --batch-size 32",
    "gradscope check models/*.py --fail-on exploding-gradient,non-finite",
    "gradscope check --show-config",
    "gradscope check model.py --seeds 5 --baseline gradscope-baseline.json",
    "gradscope check model.py --format json --output report.json",
    "gradscope check model.py --processes 4 --mesh data=4",
)

MAIN = (
    "--data", "--batch-size", "--batches", "--seeds", "--verify", "--overfit-batch", "--through-time",
    "--fail-on", "--format", "--report", "--save",
)  # fmt: skip


@with_options(
    judging=given_judging,
    loading=given_loading,
    peers=given_peers,
    configuration=configured_options,
    delivery=delivery_options,
)
def check(
    judging: Given,
    loading: Given,
    peers: Peers | None,
    configuration: Configured,
    delivery: Delivery,
    write_baseline: WriteBaseline = None,
    targets: AnyTargets = None,
) -> None:
    """Find out why a network does not learn: at which layer, at which source line, and what to do.

    Without a TARGET, all targets of the configuration are checked and shown in one table.
    """
    plan = configuration.plan({**loading, **judging}, targets or ())
    delivery.prepare(*_inputs(plan, write_baseline))
    if configuration.shown:
        configured.show(plan, delivery)
        return
    plan, known = baselines.ready(plan, write_baseline)
    suite = judged(plan, known, delivery, peers)
    if write_baseline is None:
        code = delivery.deliver(suite)
        baselines.tell_of_gone(known)
        raise typer.Exit(code)
    # What it finds is taken as given: only what could not be judged fails.
    code = delivery.deliver(suite.judged_by(Policy(())))
    baselines.write(write_baseline, suite, [task.path for task in plan.tasks], quiet=delivery.quiet)
    raise typer.Exit(code)


def judged(
    plan: TargetPlan, known: baselines.Baselines, delivery: Delivery, peers: Peers | None = None
) -> Suite:
    """What became of the targets; where one that was asked for by itself cannot be judged, that is raised."""
    # Imported once every option is known to be right: the other commands start without it.
    from gradscope import processes

    with _told(plan, delivery) as progress:
        return processes.judged(
            plan.tasks,
            alone=plan.alone,
            jobs=plan.jobs,
            peers=peers,
            baselines=known,
            progress=progress,
            echo=screen.pass_on,
        )


def _told(plan: TargetPlan, delivery: Delivery) -> AbstractContextManager[Progress]:
    if not plan.alone:
        return delivery.working()
    (task,) = plan.tasks
    return delivery.judging(task.target, Policy(task.fail_on), task.other_name)


def _inputs(plan: TargetPlan, *more: str | None) -> list[str]:
    """Files that no report may be written over."""
    read = [source_of(task.path) for task in plan.tasks]
    known = {task.checking.baseline for task in plan.tasks}
    return [path for path in (plan.file, *read, *known, *more) if path is not None]

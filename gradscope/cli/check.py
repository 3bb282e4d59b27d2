"""`gradscope check`: the main job, and the gate of a CI job."""

from __future__ import annotations

from dataclasses import replace

import typer

from gradscope.cli import baselines, configured, screen
from gradscope.cli.baselines import WriteBaseline
from gradscope.cli.configured import Configured, configured_options
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.judging import given_judging
from gradscope.cli.loading import AnyTargets, Given, given_loading
from gradscope.cli.options import examples, source_of
from gradscope.config import Plan
from gradscope.records import Policy, Suite
from gradscope.records.options import Task, in_ci
from gradscope.serialization import report_json, suite_json

EPILOG = examples(
    "gradscope check model.py",
    "gradscope check model.py:tiny --batches 4 --batch-size 32",
    "gradscope check models/*.py --fail-on exploding-gradient,non-finite",
    "gradscope check --show-config",
    "gradscope check model.py --seeds 5 --baseline gradscope-baseline.json",
    "gradscope check model.py --format json --output report.json",
)


@with_options(
    judging=given_judging, loading=given_loading, configuration=configured_options, delivery=delivery_options
)
def check(
    judging: Given,
    loading: Given,
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
    plan = baselines.ready(plan, write_baseline)
    suite = judged(plan, delivery)
    if write_baseline is None:
        code = delivery.deliver(suite)
        baselines.tell_of_gone(plan)
        raise typer.Exit(code)
    # What it finds is taken as given: only what could not be judged fails.
    code = delivery.deliver(suite.judged_by(Policy(())))
    baselines.write(write_baseline, suite, [task.path for task in plan.tasks], quiet=delivery.quiet)
    raise typer.Exit(code)


def judged(plan: Plan, delivery: Delivery) -> Suite:
    """Several targets in processes of their own, one in this one, which starts sooner.

    One that has a deadline, or that a CI job waits for, has its own process, too: it may hang or be killed.
    """
    # Imported once every option is known to be right: the other commands start without them.
    if not plan.alone:
        from gradscope import processes

        with delivery.working() as progress:
            return processes.run(plan.tasks, jobs=plan.jobs, progress=progress)
    (task,) = plan.tasks
    if in_ci() or task.loading.timeout is not None:
        return _watched(task, delivery)
    from gradscope.processes import prepare
    from gradscope.runs.check import check as run_check

    prepare.prepare_process()
    with delivery.judging(task.target, Policy(task.fail_on), task.other_name) as progress:
        report = run_check(task.path, task.loading, task.checking, progress=progress)
    return Suite((suite_json.outcome_of(task, report_json.rounded(report)),), alone=True)


def _watched(task: Task, delivery: Delivery) -> Suite:
    from gradscope import processes

    with delivery.working() as progress:
        suite = replace(processes.run([task], progress=progress, echo=screen.pass_on), alone=True)
    trouble = suite.outcomes[0].not_judged
    if trouble is not None:
        delivery.publish(suite)
        raise trouble.error()
    return suite


def _inputs(plan: Plan, *more: str | None) -> list[str]:
    """Files that no report may be written over."""
    read = [source_of(task.path) for task in plan.tasks]
    known = {task.checking.baseline for task in plan.tasks}
    return [path for path in (plan.file, *read, *known, *more) if path is not None]

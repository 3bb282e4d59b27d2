"""The one place that decides whether targets are judged in this process or each in one of its own.

That follows from what was asked, never from the environment: what a CI job runs, a terminal runs. Several
targets must not take each other along, and a target with a time limit may have to be ended: each has a
process of its own. A single target without a time limit is judged in this process, which starts sooner; if
it hangs or crashes, so does the command, and `--timeout` is how to ask for a process around it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from gradscope.errors import GradscopeError
from gradscope.gate import policy
from gradscope.gate.baseline_file import Baseline
from gradscope.processes import prepare, scheduling, starting
from gradscope.processes.together import Together
from gradscope.records import Suite
from gradscope.records.options import Peers, Task
from gradscope.runs.check import check
from gradscope.serialization import report_json
from gradscope.serialization.suite_json import outcome_of


def shares_our_process(tasks: Sequence[Task], *, alone: bool) -> bool:
    """Whether nothing that was asked needs a process around the target."""
    return alone and all(task.loading.timeout is None for task in tasks)


def judged(
    tasks: Sequence[Task],
    *,
    alone: bool,
    jobs: int | None = None,
    peers: Peers | None = None,
    baselines: Mapping[str, Baseline] | None = None,
    progress: Callable[[str], None],
    echo: Callable[[bytes], None],
) -> Suite:
    """What became of each target, in the order of the tasks, `jobs` at a time.

    `peers` are the processes that are to measure the one target together; where another one of them reports,
    this ends the process with its exit code.

    `baselines` are those that the tasks name, read already. `alone`: the one target was asked for by itself.
    What it prints goes to `echo`, and where it cannot be judged that is raised, as a `GradscopeError` or as
    our own failure.
    """
    if peers is not None:
        return _together(tasks, peers, baselines or {}, progress, echo)
    if shares_our_process(tasks, alone=alone):
        (task,) = tasks
        prepare.prepare_process()
        baseline = (baselines or {}).get(task.checking.baseline or "")
        report = check(task.path, task.loading, task.checking, baseline=baseline, progress=progress)
        return Suite((outcome_of(task, report_json.rounded(report)),), alone=True)
    suite = scheduling.run(
        tasks, jobs=jobs, baselines=baselines, progress=progress, echo=echo if alone else None
    )
    if alone and (error := suite.outcomes[0].error) is not None:
        raise error.as_exception()
    return replace(suite, alone=alone)


def _together(
    tasks: Sequence[Task],
    peers: Peers,
    baselines: Mapping[str, Baseline],
    progress: Callable[[str], None],
    echo: Callable[[bytes], None],
) -> Suite:
    if len(tasks) != 1:
        raise GradscopeError(
            f"{len(tasks)} targets are given, and several processes measure one of them together.",
            fix="Give one TARGET, or leave --processes and --coordinator out.",
            slug="bad-option",
        )
    if os.name != "posix":
        raise GradscopeError(
            "Several processes cannot be watched on this system.",
            why="They are ended by signals, which Linux and macOS have.",
            fix="Leave --processes and --coordinator out.",
            slug="bad-option",
        )
    (task,) = tasks
    with closing(
        Together(scheduling.asked_of(task, baselines), peers, progress, starting.best(), echo)
    ) as run:
        outcome, speaks = run.outcome(), run.speaks
    suite = Suite((outcome,), alone=True)
    if not speaks:
        sys.exit(policy.exit_code(suite))
    if outcome.error is not None:
        raise outcome.error.as_exception()
    return suite

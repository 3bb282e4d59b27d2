"""`gradscope.monitor`: load, trace, train, judge, report; and the same of a recording.

JAX is imported inside the functions, as in `check`; a recording needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope.errors import GradscopeError
from gradscope.recording.file import read, require_new
from gradscope.recording.thinning import Thinned
from gradscope.records import Heading, History, Report, Tool
from gradscope.records.options import LoadOptions, MonitorOptions
from gradscope.records.progress import Progress, silent
from gradscope.rules import Parts, get, judge, judging, left_out
from gradscope.runs.common import Limits, names, problem_of
from gradscope.runs.excerpts import excerpts

if TYPE_CHECKING:
    from gradscope.load.problem import Problem


def monitor(
    target: str,
    loading: LoadOptions | None = None,
    options: MonitorOptions | None = None,
    *,
    watch: Callable[[Thinned], None] | None = None,
    progress: Progress = silent,
) -> Report:
    """Load a target and train it; `watch` is called after each measured step with the history so far."""
    loading, options = loading or LoadOptions(), options or MonitorOptions()
    _require(options)
    start = perf_counter()
    progress(f"loading {target}")
    from gradscope.load.target import load
    from gradscope.load.usercode.random_generators import seeded
    from gradscope.runs.monitored import monitor_problem

    with seeded(loading.seed):
        problem = load(target, loading)
        spent = perf_counter() - start
        return monitor_problem(problem, options, target=target, load_s=spent, watch=watch, progress=progress)


def monitor_loss(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    steps: int = 200,
    every: int | None = None,
    validate_every: int | None = None,
    repeat: bool = False,
    record: str | None = None,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    limits: Limits | None = None,
    **problem: Any,
) -> Report:
    """`gradscope.monitor`: train a loss for some steps and measure every layer on the way.

    The other arguments are those of `Problem`: `optimizer` (without one, Adam at 0.001), `batches`, `data`,
    `validation_batch`, ... `report.history` has the numbers. The layers are measured at each step that
    `every` divides; `record` appends each to a new file; `repeat` goes through the batches of an iterator
    again. Raises `GradscopeError` where the loss cannot be trained.
    """
    from gradscope.runs.monitored import monitor_problem

    given = problem_of(loss_fn, params, batch, **problem)
    options = MonitorOptions(
        steps=steps,
        every=every,
        validate_every=validate_every,
        repeat=repeat,
        record=record,
        select=names(select),
        ignore=names(ignore),
        limits=limits or {},
    )
    _require(options)
    return monitor_problem(given, options, target=given.name, progress=silent)


def judged_recording(path: str) -> Report:
    """The report of a recording, without JAX and without the model. Raises `GradscopeError` where the file is
    none."""
    return report_of(*read(path))


def report_of(
    heading: Heading,
    history: History,
    *,
    select: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
) -> Report:
    """What the rules over steps make of a history that is at hand."""
    parts = Parts(history=history)
    findings, skipped = judge(parts, select=select, ignore=ignore)
    return Report(
        heading.target,
        Tool(heading.gradscope, heading.jax, heading.backend),
        history=history,
        findings=findings,
        skipped=skipped,
        rules=judging(parts, select, ignore, skipped),
        left_out=left_out(parts, select, ignore),
        excerpts=excerpts(findings),
    )


def _require(options: MonitorOptions) -> None:
    for name in (*options.select, *options.ignore):
        get(name)
    if options.record is not None:
        require_new(options.record)
    for option, number in (
        ("--steps", options.steps),
        ("--every", options.every),
        ("--validate-every", options.validate_every),
    ):
        if number is not None and number < 1:
            raise GradscopeError(
                f"{option} is {number}.", fix="Give a number of 1 or more.", slug="bad-option"
            )

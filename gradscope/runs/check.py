"""`gradscope.check`: load, trace, measure, judge, report.

JAX is imported inside the functions, after `processes.prepare` has set what JAX reads at its import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradscope.errors import GradscopeError
from gradscope.gate.baseline_file import Baseline
from gradscope.gate.baseline_status import compared, knows
from gradscope.gate.seed_votes import SeedRun, over_seeds
from gradscope.records import Reference, Report, Timing
from gradscope.records.options import CheckOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.rules import get
from gradscope.runs.common import Limits, names, problem_of, tool
from gradscope.runs.excerpts import excerpts
from gradscope.runs.parametrization import with_widths

if TYPE_CHECKING:
    from gradscope.load.problem import Problem

ONE_SEED = (
    "One seed was measured: the next one begins with the same numbers. `def init(key)` that draws from its "
    "key makes params of any seed."
)


def check(
    target: str,
    loading: LoadOptions | None = None,
    options: CheckOptions | None = None,
    *,
    baseline: Baseline | None = None,
    progress: Progress = silent,
) -> Report:
    """Load a target, measure it and judge it. Raises `GradscopeError` where it cannot be judged.

    `baseline` is that of the options, for a caller who has read it already.
    """
    loading, options = loading or LoadOptions(), options or CheckOptions()
    _require(options)
    if baseline is None and options.baseline is not None:
        baseline = Baseline.read(options.baseline)
    entry = None if baseline is None else baseline.entry(target)
    progress(f"loading {target}")
    from gradscope.runs.judged import Judge
    from gradscope.runs.seeds import of_target, seed_runs

    if options.widths:
        loading = replace(loading, usual_width=min(options.widths))
    reference = Reference(baseline.path, entry.layers) if baseline and entry else None
    beginnings = of_target(target, loading, options.seeds, progress)
    runs = seed_runs(beginnings, options, Judge(options, reference, knows(entry)), progress)
    report = _report(runs, options, target)
    if options.widths:
        report = with_widths(report, target, loading, options, progress)
    return report if baseline is None else compared(report, baseline.path, entry, options)


def check_problem(
    problem: Problem, options: CheckOptions, *, target: str, progress: Progress = silent
) -> Report:
    """Measure and judge a problem that is at hand; with several seeds, its own and those that follow."""
    _require(options)
    from gradscope.runs.judged import Judge
    from gradscope.runs.seeds import of_problem, seed_runs

    runs = seed_runs(of_problem(problem, options.seeds), options, Judge(options), progress)
    return _report(runs, options, target)


def _require(options: CheckOptions) -> None:
    for name in (*options.select, *options.ignore):
        get(name)
    counts = (("--batches", options.batches), ("--seeds", options.seeds), ("--truncate", options.truncate))
    for option, count in counts:
        if count is not None and count < 1:
            raise GradscopeError(
                f"{option} is {count}.",
                why="At least one has to be measured.",
                fix="Give a number of 1 or more.",
                slug="bad-option",
            )


def _report(runs: Sequence[SeedRun], options: CheckOptions, target: str) -> Report:
    """One report of all seeds; there are fewer of them where others begin with the same numbers."""
    first, timing = runs[0], Timing()
    for run in runs:
        timing = timing.plus(run.timing)
    report = Report(
        target,
        tool(),
        flow=first.measurement,
        training=first.training,
        gradients=first.gradients,
        findings=first.findings,
        notes=(*first.notes, ONE_SEED) if len(runs) < options.seeds else first.notes,
        skipped=first.skipped,
        timing=timing,
        seeds=tuple(run.seed for run in runs),
        rules=first.rules,
        left_out=first.left_out,
    )
    report = over_seeds(report, runs) if len(runs) > 1 else report
    return replace(report, excerpts=excerpts(report.findings))


def check_loss(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    batches: Any = None,
    data: Any = None,
    optimizer: Any = None,
    given: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    count: int = 1,
    seeds: int = 1,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    limits: Limits | None = None,
    verified: bool = False,
    steps: int | None = None,
    after_steps: int = 0,
    through_time: bool = False,
    inputs: bool = False,
    what_if: str | None = None,
    replicas: bool = False,
    overfit_batch: bool = False,
    truncate: int | None = None,
) -> Report:
    """`gradscope.check`: measure a loss function at its parameters and a batch, or a `Problem`.

    `params` may be the model of a framework. `batches`, `data`, `optimizer`, `given`, `batch_size` and `seed`
    are those of `Problem`; `count` is the number of batches that are measured, and `seeds` that of the seeds,
    of which most must find a thing. `select` leaves only those rules, `ignore` takes some away, and `limits`
    replaces numbers of rules: `{"vanishing-gradient": {"ratio": 1e-4}}`. `verified` verifies the gradients,
    too. `steps` is the number of steps of the short training, 0 for none; `after_steps` are taken before
    anything is measured. `through_time` follows the gradient through the steps of loops over time, and
    `truncate` cuts it every so many steps to see what is lost; `inputs` looks at the gradient with respect to
    the inputs, `what_if` compares with the program rounded to `bf16`, `f16`, `fp8` or `mxfp8`, `replicas`
    takes the gradient of the rows of each replica of a mesh, and `overfit_batch` trains on the first batch
    alone. Raises `GradscopeError` where the loss cannot be judged.
    """
    from gradscope.trace.compiling import programs_kept

    problem = problem_of(
        loss_fn,
        params,
        batch,
        batches=batches,
        data=data,
        optimizer=optimizer,
        given=given,
        batch_size=batch_size,
        seed=seed,
    )
    options = CheckOptions(
        batches=count,
        seeds=seeds,
        select=names(select),
        ignore=names(ignore),
        limits=limits or {},
        verified=verified,
        steps=steps,
        after_steps=after_steps,
        through_time=through_time,
        inputs=inputs,
        what_if=what_if,
        replicas=replicas,
        overfit_batch=overfit_batch,
        truncate=truncate,
    )
    with programs_kept():
        return check_problem(problem, options, target=problem.name)

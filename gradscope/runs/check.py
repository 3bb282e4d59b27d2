"""`gradscope.check`: load, trace, measure, judge, report.

JAX is imported inside the functions, after `processes.prepare` has set what JAX reads at its import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope.gate import baseline_file
from gradscope.gate.baseline_status import compared, knows
from gradscope.gate.seed_votes import over_seeds
from gradscope.records import Finding, Measurement, Reference, Report, Skipped, Timing
from gradscope.records.options import CheckOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.rules import get, judge, judging
from gradscope.runs.common import tool

if TYPE_CHECKING:
    from gradscope.load.problem import Problem

Limits = Mapping[str, Mapping[str, float]]
ONE_SEED = (
    "One seed was measured: any other begins with the same numbers. `def init(key)` that draws from its key "
    "makes params of any seed."
)


def check(
    target: str,
    loading: LoadOptions | None = None,
    options: CheckOptions | None = None,
    *,
    progress: Progress = silent,
) -> Report:
    """Load a target, measure it and judge it. Raises `GradscopeError` where it cannot be judged."""
    options = options or CheckOptions()
    for name in (*options.select, *options.ignore):
        get(name)
    loading = loading or LoadOptions()
    known = None if options.baseline is None else baseline_file.load(options.baseline)
    entry = known.get(baseline_file.key_of(target, options.baseline)) if known and options.baseline else None
    reference = Reference(options.baseline, entry.layers) if entry and options.baseline else None
    start = perf_counter()
    progress(f"loading {target}")
    from gradscope.load.target import load
    from gradscope.load.usercode.random_generators import seeded

    # Batches may be drawn long after the file ran.
    with seeded(loading.seed):
        problem = load(target, loading)
        load_s = perf_counter() - start
        report = check_problem(
            problem,
            options,
            target=target,
            progress=progress,
            load_s=load_s,
            reference=reference,
            known=knows(entry),
        )
    return report if options.baseline is None else compared(report, options.baseline, entry, options)


def check_problem(
    problem: Problem,
    options: CheckOptions,
    *,
    target: str,
    progress: Progress = silent,
    load_s: float = 0.0,
    reference: Reference | None = None,
    known: Callable[[Finding], bool] | None = None,
) -> Report:
    """Measure and judge a problem that is at hand. Gradients are verified for the first seed alone.

    `reference` is how it was, and `known` whether a finding was there then.
    """
    from gradscope.runs.measuring import require_batches
    from gradscope.runs.seeds import measure_seeds, require_seeds

    require_batches(options.batches)
    require_seeds(options.seeds)
    seeds, measured = measure_seeds(problem, options.seeds, batches=options.batches, progress=progress)
    measurements = [replace(each.measurement, reference=reference) for each in measured]
    remarks = [each.skipped for each in measured]
    timing = Timing(load_s)
    for each in measured:
        timing = timing.plus(Timing(0.0, each.trace_s, each.compile_s, each.run_s))
    measurements[0], remarked, spent = _closer(problem, options, measurements[0], progress)
    remarks[0], timing = (*remarks[0], *remarked), timing.plus(spent)
    judged = [
        judge(each, select=options.select, ignore=options.ignore, limits=options.limits, known=known)
        for each in measurements
    ]
    skipped = [(*about, *more) for about, (_, more) in zip(remarks, judged, strict=True)]
    report = Report(target, tool(), measurements[0], judged[0][0], skipped[0], timing, tuple(seeds))
    report = replace(report, rules=judging(measurements[0], options.select, options.ignore, judged[0][1]))
    if len(seeds) > 1:
        return over_seeds(report, measurements, [findings for findings, _ in judged], skipped)
    if options.seeds > 1:
        return replace(report, skipped=(*report.skipped, Skipped("note", ONE_SEED)))
    return report


def _closer(
    problem: Problem, options: CheckOptions, measurement: Measurement, progress: Progress
) -> tuple[Measurement, tuple[Skipped, ...], Timing]:
    """The passes that run only when they are asked for, added to what was measured."""
    timing, skipped = Timing(), tuple[Skipped, ...]()
    if options.verified:
        from gradscope.verification.verify import verify

        found = verify(problem, progress=progress)
        measurement, skipped = found.added_to(measurement), found.skipped
        timing = timing.plus(found.timing)
    if options.histograms:
        from gradscope.measure.histograms import histograms

        counted, spent = histograms(problem, progress=progress)
        measurement, timing = replace(measurement, histograms=counted), timing.plus(spent)
    return measurement, skipped, timing


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
) -> Report:
    """`gradscope.check`: measure a loss function at its parameters and a batch, or a `Problem`.

    `params` may be the model of a framework. `batches`, `data`, `optimizer`, `given`, `batch_size` and `seed`
    are those of `Problem`; `count` is the number of batches that are measured, and `seeds` that of the seeds,
    of which most must find a thing. `select` leaves only those rules, `ignore` takes some away, and `limits`
    replaces numbers of rules: `{"vanishing-gradient": {"ratio": 1e-4}}`. `verified` verifies the gradients,
    too. Raises `GradscopeError` where the loss cannot be judged.
    """
    from gradscope.load.problem import Problem

    problem = (
        loss_fn
        if isinstance(loss_fn, Problem)
        else Problem(
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
    )
    options = CheckOptions(
        batches=count,
        seeds=seeds,
        select=_names(select),
        ignore=_names(ignore),
        limits=limits or {},
        verified=verified,
    )
    return check_problem(problem, options, target=problem.name)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)

"""`gradscope.compare_optimizers` and `gradscope.find_lr`: load, train, report.

JAX is imported inside the functions, as in `check`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope.errors import GradscopeError
from gradscope.gate.saved_comparison import require_comparable
from gradscope.records import Comparison, Report, Skipped, Timing
from gradscope.records.options import CompareOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.rules import Parts, judge, judging
from gradscope.rules.optimizer.saved_run import lost
from gradscope.runs.common import Limits, tool

if TYPE_CHECKING:
    from gradscope.load.problem import Problem


def compare_optimizers(
    target: str,
    options: LoadOptions | None = None,
    terms: CompareOptions | None = None,
    *,
    against: Comparison | None = None,
    limits: Limits | None = None,
    progress: Progress = silent,
    begun: float | None = None,
) -> Report:
    """Load a target and train it with each optimizer; `against` is the same comparison in a saved run, and
    the budget runs from `begun` on, as `time.perf_counter` has it."""
    begun = perf_counter() if begun is None else begun
    from gradscope.load.usercode.random_generators import seeded

    options, terms = options or LoadOptions(), terms or CompareOptions()
    if terms.widths:
        from gradscope.runs.widths import compare_widths

        found = compare_widths(target, options, terms, progress, begun)
        return found if against is None else judged_against(found, against, limits)
    with seeded(options.seed):
        problem, load_s = _loaded(target, options, progress)
        found = _compared(problem, terms, target, progress, load_s, begun)
    return found if against is None else judged_against(found, against, limits)


def find_lr(
    target: str,
    options: LoadOptions | None = None,
    *,
    optimizer: str | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    progress: Progress = silent,
) -> Report:
    """The learning-rate range test on a target; of its own optimizer where none is named."""
    from gradscope.load.usercode.random_generators import seeded

    options = options or LoadOptions()
    with seeded(options.seed):
        problem, load_s = _loaded(target, options, progress)
        return _searched(problem, optimizer, seeds, steps, target, progress, load_s)


def compare_loss(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    optimizers: str | Sequence[str] = (),
    candidates: Mapping[str, Callable[[Any], Any]] | None = None,
    steps: int | None = None,
    seeds: int | None = None,
    grid: int | None = None,
    budget: float | None = None,
    target: float | None = None,
    schedule: str = "constant",
    clip: float | None = None,
    exhaustive: bool = False,
    vmap: str = "auto",
    updates: bool = False,
    starts: int = 0,
    against: Report | None = None,
    limits: Limits | None = None,
    progress: Progress = silent,
    **problem: Any,
) -> Report:
    """`gradscope.compare_optimizers`: train a loss with each optimizer, from the same starts and batches.

    `report.optimizers` has a row for each, ranked. `candidates` are further ones, functions of the learning
    rate by their names; what is not given of `steps`, `seeds` and `grid` is cut to `budget` [s], which
    limits the whole call. With the report of a saved run as `against` the findings say whether your
    `optimizer` has become worse since; as in `check`, `limits` replaces numbers of the rule; `updates`
    measures what each does to each layer, `starts` where the best ends from so many. `init`, `optimizer`,
    `batches`, `data`, `batch_size`, `validation_batch`, `given` and `seed` are those of the
    problem: with `init(key)` in place of params each seed starts elsewhere. Raises `GradscopeError` where
    nothing can be trained. Ctrl-C ends it with what is known by then.
    """
    started = perf_counter()
    trained = _problem_of(loss_fn, params, batch, candidates=candidates, **problem)
    names = (optimizers,) if isinstance(optimizers, str) else tuple(optimizers)
    terms = CompareOptions(
        names, steps, seeds, grid, budget, target, schedule, clip, exhaustive, vmap, updates, starts
    )
    found = _compared(trained, terms, trained.name, progress, 0.0, started)
    saved = None if against is None else against.optimizers
    return found if saved is None else judged_against(found, saved, limits)


def find_loss_rate(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    optimizer_name: str | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    progress: Progress = silent,
    **problem: Any,
) -> Report:
    """`gradscope.find_lr`: the learning-rate range test on a loss.

    Of the optimizer called `optimizer_name`, else of the `optimizer` that is given, else of Adam; the other
    arguments are those of `compare_optimizers`. `report.rates` has the suggestion.
    """
    begun = _problem_of(loss_fn, params, batch, **problem)
    return _searched(begun, optimizer_name, seeds, steps, begun.name, progress, 0.0)


def _loaded(target: str, options: LoadOptions, progress: Progress) -> tuple[Problem, float]:
    start = perf_counter()
    progress(f"loading {target}")
    from gradscope.load.target import load

    return load(target, options), perf_counter() - start


def _problem_of(
    loss_fn: Callable[..., Any] | Problem,
    params: Any,
    batch: Any,
    *,
    init: Callable[..., Any] | None = None,
    seed: int = 0,
    **more: Any,
) -> Problem:
    from gradscope.load.problem import Problem
    from gradscope.load.signature.keys import call_with_key

    if isinstance(loss_fn, Problem):
        given = {"params": params, "batch": batch, "init": init, **more}
        beside = [name for name, value in given.items() if value is not None]
        if beside:
            raise GradscopeError(
                f"{' and '.join(f'`{name}`' for name in beside)} stands beside a `Problem`.",
                why="A Problem holds all of it already.",
                fix="Give it to `gradscope.Problem(...)`.",
                slug="bad-option",
            )
        return loss_fn
    if init is None:
        return Problem(loss_fn, params, batch, seed=seed, **more)
    made = Problem(loss_fn, call_with_key(init, "init", seed), batch, seed=seed, **more)
    return made.with_factory(lambda other: call_with_key(init, "init", other))


def _compared(
    problem: Problem,
    terms: CompareOptions,
    target: str,
    progress: Progress,
    load_s: float,
    begun: float,
) -> Report:
    from gradscope.optimizers.compare import compare

    start = perf_counter()
    found = compare(problem.reseeded, terms, problem.seed, progress, begun)
    return Report(
        target,
        tool(),
        optimizers=found,
        notes=tuple(problem.notes),
        timing=Timing(load_s, run_s=perf_counter() - start),
    )


def judged_against(report: Report, before: Comparison, limits: Limits | None = None) -> Report:
    """The report with what changed since the saved run: a finding, or a note where it is none.

    Raises `GradscopeError` where the two cannot be compared. What Ctrl-C cut short is not judged.
    """
    now = report.optimizers
    if now is None:
        return report
    if not now.complete:
        end = "was interrupted" if now.budget_spent_s is None else "ended with its budget"
        reason = f"the comparison {end}: it is not compared with the saved run"
        return replace(report, skipped=(*report.skipped, Skipped("optimizer-regression", reason)))
    require_comparable(now, before)
    parts = Parts(optimizers=now, saved=before)
    findings, skipped = judge(parts, limits=limits)
    change = lost(now, before)
    notes = () if findings or change is None else (change.text,)
    return replace(
        report,
        findings=findings,
        notes=(*report.notes, *notes),
        skipped=(*report.skipped, *skipped),
        rules=judging(parts, skipped=skipped),
    )


def _searched(
    problem: Problem,
    optimizer: str | None,
    seeds: int | None,
    steps: int | None,
    target: str,
    progress: Progress,
    load_s: float,
) -> Report:
    from gradscope.optimizers import candidates, range_test

    start = perf_counter()
    found = range_test.find_rate(
        problem.reseeded,
        candidates.one_of(problem, optimizer),
        seed=problem.seed,
        seeds=range_test.SEEDS if seeds is None else seeds,
        steps=range_test.STEPS if steps is None else steps,
        progress=progress,
    )
    return Report(
        target,
        tool(),
        rates=found,
        notes=tuple(problem.notes),
        timing=Timing(load_s, run_s=perf_counter() - start),
    )

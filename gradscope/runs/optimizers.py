"""`gradscope.compare_optimizers` and `gradscope.find_lr`: load, train, report.

JAX is imported inside the functions, as in `check`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope.errors import GradscopeError
from gradscope.records import Measurement, Report, Skipped, Timing
from gradscope.records.options import CompareOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.runs.common import tool

if TYPE_CHECKING:
    from gradscope.load.problem import Problem


def compare_optimizers(
    target: str,
    options: LoadOptions | None = None,
    terms: CompareOptions | None = None,
    *,
    progress: Progress = silent,
) -> Report:
    """Load a target and train it with each optimizer, for a report whose measurement has `optimizers`."""
    from gradscope.load.usercode.random_generators import seeded

    options = options or LoadOptions()
    with seeded(options.seed):
        problem, load_s = _loaded(target, options, progress)
        return _compared(problem, terms or CompareOptions(), target, progress, load_s)


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
    progress: Progress = silent,
    **problem: Any,
) -> Report:
    """`gradscope.compare_optimizers`: train a loss with each optimizer, from the same starts and batches.

    `report.measurement.optimizers` has a row for each, ranked. `candidates` are further ones, functions of
    the learning rate by their names; what is not given of `steps`, `seeds` and `grid` is cut to `budget`
    [s]. `init`, `optimizer`, `batches`, `data`, `batch_size`, `validation_batch`, `given` and `seed` are
    those of the problem: with `init(key)` in place of params each seed starts elsewhere. Raises
    `GradscopeError` where nothing can be trained. Ctrl-C ends it with what is known by then.
    """
    begun = _problem_of(loss_fn, params, batch, candidates=candidates, **problem)
    names = (optimizers,) if isinstance(optimizers, str) else tuple(optimizers)
    terms = CompareOptions(names, steps, seeds, grid, budget, target, schedule, clip, exhaustive, vmap)
    return _compared(begun, terms, begun.name, progress, 0.0)


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
    arguments are those of `compare_optimizers`. `report.measurement.rate_search` has the suggestion.
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
    problem: Problem, terms: CompareOptions, target: str, progress: Progress, load_s: float
) -> Report:
    from gradscope.optimizers.compare import compare

    start = perf_counter()
    found = compare(problem.reseeded, terms, problem.seed, progress)
    measurement = Measurement(found.initial_loss, (), (), optimizers=found)
    return _report(problem, target, measurement, Timing(load_s, run_s=perf_counter() - start))


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
    measurement = Measurement(found.tests[0].losses[0], (), (), rate_search=found)
    return _report(problem, target, measurement, Timing(load_s, run_s=perf_counter() - start))


def _report(problem: Problem, target: str, measurement: Measurement, timing: Timing) -> Report:
    notes = tuple(Skipped("note", note) for note in problem.notes)
    return Report(target, tool(), measurement, (), notes, timing)

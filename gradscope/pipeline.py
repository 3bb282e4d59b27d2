"""Load, trace, measure, judge, report: the one file that knows all layers.

JAX is imported inside the functions, after `prepare_process` has set what JAX reads at its import.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope import __version__, compilation_cache
from gradscope.options import CheckOptions, LoadOptions
from gradscope.records import Report, Timing, Tool
from gradscope.rules import get, judge

if TYPE_CHECKING:
    from gradscope.load.problem import Problem

Progress = Callable[[str], None]
Limits = Mapping[str, Mapping[str, float]]


def silent(stage: str) -> None:
    del stage


def prepare_process() -> None:
    """Set up JAX for a process that runs each program once; what the user has set wins.

    Must run before JAX is imported. Programs that run once are dominated by XLA's compile time: no
    backend optimization (`docs/performance.md`), and a compilation cache that outlives the process.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_backend_optimization_level" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=0".strip()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras chooses its backend when it is imported, and without this it would be TensorFlow.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    compilation_cache.use()


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
    start = perf_counter()
    progress(f"loading {target}")
    from gradscope.load.target import load

    problem = load(target, loading)
    loaded = perf_counter() - start
    return check_problem(problem, options, target=target, progress=progress, load_s=loaded)


def check_problem(
    problem: Problem,
    options: CheckOptions,
    *,
    target: str,
    progress: Progress = silent,
    load_s: float = 0.0,
) -> Report:
    """Measure and judge a problem that is at hand."""
    from gradscope.measure.run import measure, require_batches

    require_batches(options.batches)
    measured = measure(problem, batches=options.batches, progress=progress)
    measurement, remarks = measured.measurement, measured.skipped
    timing = Timing(load_s, measured.trace_s, measured.compile_s, measured.run_s)
    if options.verified:
        from gradscope.measure.verification import verify

        found = verify(problem, progress=progress)
        measurement, timing = found.added_to(measurement), timing.plus(found.timing)
        remarks = (*remarks, *found.skipped)
    findings, skipped = judge(
        measurement, select=options.select, ignore=options.ignore, limits=options.limits
    )
    return Report(target, tool(), measurement, findings, (*remarks, *skipped), timing)


def tool() -> Tool:
    import jax

    return Tool(__version__, jax.__version__, jax.default_backend())


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
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    limits: Limits | None = None,
    verified: bool = False,
) -> Report:
    """`gradscope.check`: measure a loss function at its parameters and a batch, or a `Problem`.

    `params` may be the model of a framework. `batches`, `data`, `optimizer`, `given`, `batch_size` and `seed`
    are those of `Problem`; `count` is the number of batches that are measured. `select` leaves only those
    rules, `ignore` takes some away, and `limits` replaces numbers of rules:
    `{"vanishing-gradient": {"ratio": 1e-4}}`. `verified` verifies the gradients, too. Raises `GradscopeError`
    where the loss cannot be judged.
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
        select=_names(select),
        ignore=_names(ignore),
        limits=limits or {},
        verified=verified,
    )
    return check_problem(problem, options, target=problem.name)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)

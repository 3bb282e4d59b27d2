"""`gradscope.curvature`: the eigenvalues of the Hessian, and where the learning rate stands to them.

JAX is imported inside the functions, as in `check`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope.records import Connection, Curvature, OwnRate, Report, Skipped, Timing
from gradscope.records.options import CurvatureOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.rules import Parts
from gradscope.runs.common import judged_report, loaded, problem_of

if TYPE_CHECKING:
    from gradscope.landscape.products import Products
    from gradscope.landscape.study import Study
    from gradscope.load.problem import Problem
    from gradscope.trace.program import Inputs, Program, Tracer
    from gradscope.training.alone import OptimizerAlone

USUAL_S = 10.0
"""[seconds] of products with the Hessian, where the options name none."""
WARM_UP = 20
"""Steps that an optimizer is given to move anything."""
OPTIMIZER = "what the optimizer does"


def curvature(
    target: str,
    loading: LoadOptions | None = None,
    options: CurvatureOptions | None = None,
    *,
    progress: Progress = silent,
) -> Report:
    """Load a target and look at the curvature of its loss."""
    with loaded(target, loading or LoadOptions(), progress) as (problem, load_s):
        return curvature_of(problem, target=target, options=options, progress=progress, load_s=load_s)


def curvature_loss(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    optimizer: Any = None,
    batches: Any = None,
    data: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
    count: int = 1,
    budget_s: float | None = None,
    layers: bool = True,
) -> Report:
    """`gradscope.curvature`: the largest and the smallest eigenvalue of the Hessian of a loss at its params.

    `report.curvature.largest` has the value and its error, `report.curvature.stable_rate` 2 / value,
    `report.curvature.layers` the same for the diagonal block of each layer unless `layers` is false. The mean
    loss of the first `count` batches is looked at, for about `budget_s` seconds of products with the Hessian
    (10).
    The other arguments are those of `check`. Raises `GradscopeError` where the loss has no gradient.
    """
    from gradscope.trace.compiling import programs_kept

    problem = problem_of(
        loss_fn,
        params,
        batch,
        batches=batches,
        data=data,
        optimizer=optimizer,
        batch_size=batch_size,
        seed=seed,
    )
    with programs_kept():
        options = CurvatureOptions(count, budget_s, layers)
        return curvature_of(problem, target=problem.name, options=options)


def curvature_of(
    problem: Problem,
    *,
    target: str,
    options: CurvatureOptions | None = None,
    progress: Progress = silent,
    load_s: float = 0.0,
) -> Report:
    """The curvature of a problem that is at hand. Ctrl-C ends it with what is known once it is compiled."""
    options = options or CurvatureOptions()
    start = perf_counter()
    progress("tracing")
    at = _traced(problem, options.batches)
    traced = perf_counter()
    study, complete = _studied(problem, at, options, progress)
    found = replace(study.record, complete=complete)
    compiled_s = study.products.compile_s
    timing = Timing(load_s, traced - start, compiled_s, perf_counter() - traced - compiled_s)
    interrupted = () if complete else (Skipped("what else is looked at", "interrupted"),)
    skipped = (*at.skipped, *study.skipped, *interrupted)
    return judged_report(target, Parts(curvature=found), timing, notes=at.notes, skipped=skipped)


@dataclass(frozen=True)
class _Traced:
    """The program in at least float32, and the inputs of each batch."""

    program: Program
    inputs: list[Inputs]
    plain: Tracer
    """In the dtypes of the file."""
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    first: Any
    """The first batch."""


def _traced(problem: Problem, count: int) -> _Traced:
    from gradscope.landscape.widening import narrow, widened
    from gradscope.runs.preparing import Drawn
    from gradscope.trace.program import Tracer

    drawn = Drawn.of(problem, problem.batches(), count)
    first = drawn.used[0]
    plain = Tracer(problem)
    thin = narrow((problem.params, first))
    tracer = Tracer(problem, widened) if thin else plain
    program = tracer.trace(first)
    inputs = [tracer.inputs(batch, draw) for draw, batch in enumerate(drawn.used)]
    notes = list(drawn.notes)
    if thin:
        dtypes = " and ".join(thin)
        notes.append(
            f"Numbers in {dtypes} were widened to float32: second derivatives of a rounded loss are mostly "
            "rounding."
        )
    inside = _rounded_inside(program)
    if inside:
        notes.append(f"The loss computes in {inside} inside: its second derivatives are rounded, too.")
    return _Traced(program, inputs, plain, tuple(notes), drawn.skipped, first)


def _rounded_inside(program: Program) -> str:
    from gradscope.verification.precision import lowest_precision

    lowest = lowest_precision(program)
    return str(lowest) if lowest.itemsize < 4 else ""


def _studied(
    problem: Problem, at: _Traced, options: CurvatureOptions, progress: Progress
) -> tuple[Study, bool]:
    from gradscope.landscape.lines import noise_of
    from gradscope.landscape.products import Products
    from gradscope.landscape.study import Study, moving_of
    from gradscope.load.usercode.fault import Looks

    looks = Looks()
    asked = (
        looks.taken(OPTIMIZER, lambda: _asked(problem, at), None) if problem.optimizer is not None else None
    )
    leaves = at.program.leaves
    connected = [each is Connection.CONNECTED for each in at.program.connections]
    frozen = asked.frozen if asked is not None else frozenset()
    moving = moving_of(connected, [leaf.name in frozen for leaf in leaves])
    progress("compiling")
    products = Products(at.program, at.inputs[0].weights, [each.others for each in at.inputs], moving)
    record = Curvature(
        parameters=products.size,
        left_out=sum(leaf.size for leaf in leaves) - products.size,
        batches=len(at.inputs),
        dtype=str(products.dtype),
        loss=products.loss,
        gradient_norm=products.gradient_norm,
        noise=noise_of(products),
        own=None if asked is None else asked.own,
    )
    study = Study(at.program, products, record, progress)
    study.looks.failed += looks.failed
    update = None if asked is None else lambda: (_first_update(asked, products), "your optimizer")
    try:
        study.run(USUAL_S if options.budget_s is None else options.budget_s, update, layers=options.layers)
    except KeyboardInterrupt:
        return study, False
    return study, True


@dataclass(frozen=True)
class _Asked:
    own: OwnRate
    frozen: frozenset[str]
    optimizer: OptimizerAlone


def _asked(problem: Problem, at: _Traced) -> _Asked:
    from gradscope.training.alone import OptimizerAlone, own_rate
    from gradscope.training.optimizer import StepRule
    from gradscope.training.parameter_groups import OptimizerProbe

    inputs = at.plain.inputs(at.first)
    optimizer = OptimizerAlone(StepRule.of(problem, at.plain), at.program, inputs)
    probe = OptimizerProbe(optimizer, WARM_UP)
    groups = probe.groups(at.program)
    frozen = {name for group in groups if group.transform == "frozen" for name in group.leaves}
    return _Asked(own_rate(optimizer, probe, groups), frozenset(frozen), optimizer)


def _first_update(asked: _Asked, products: Products) -> Any:
    return products.vector(asked.optimizer.first_update(products.leaves(products.gradient), products.loss))

"""`gradscope.verify`: load, verify, judge, report, without the flow pass.

JAX is imported inside the functions, as in `check`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gradscope.errors import GradscopeError
from gradscope.records import Report, Timing
from gradscope.records.options import LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.rules import Parts
from gradscope.runs.common import Limits, judged_report, loaded, problem_of

if TYPE_CHECKING:
    from gradscope.load.problem import Problem

DIRECTIONS = 2


def verify(
    target: str,
    options: LoadOptions | None = None,
    *,
    directions: int = DIRECTIONS,
    per_element: int = 0,
    progress: Progress = silent,
) -> Report:
    """Load a target and verify its gradients: leaf by leaf, and every custom rule by itself."""
    with loaded(target, options or LoadOptions(), progress) as (problem, load_s):
        return verify_problem(
            problem,
            target=target,
            directions=directions,
            per_element=per_element,
            progress=progress,
            load_s=load_s,
        )


def verify_problem(
    problem: Problem,
    *,
    target: str,
    directions: int = DIRECTIONS,
    per_element: int = 0,
    limits: Limits | None = None,
    progress: Progress = silent,
    load_s: float = 0.0,
) -> Report:
    """Verify the gradients of a problem that is at hand."""
    _require(directions, per_element)
    from gradscope.verification.verify import verify as verify_gradients

    found = verify_gradients(problem, directions=directions, per_element=per_element, progress=progress)
    timing = Timing(load_s).plus(found.timing)
    notes = (*problem.notes, *found.notes)
    return judged_report(target, Parts(gradients=found.record), timing, notes=notes, limits=limits)


def verify_loss(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    batches: Any = None,
    data: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
    given: Mapping[str, Any] | None = None,
    directions: int = DIRECTIONS,
    per_element: int = 0,
    limits: Limits | None = None,
) -> Report:
    """`gradscope.verify`: is the gradient of a loss right, for each leaf of its params?

    `report.gradients.leaves` has a verdict for each leaf: right, wrong, or that it cannot be judged and why.
    `directions` are tried in each leaf, and `per_element` single elements besides; the other arguments are
    those of `check`. Raises `GradscopeError` where the loss cannot be run.
    """
    from gradscope.trace.compiling import programs_kept

    problem = problem_of(
        loss_fn,
        params,
        batch,
        batches=batches,
        data=data,
        batch_size=batch_size,
        seed=seed,
        given=given,
    )
    with programs_kept():
        return verify_problem(
            problem, target=problem.name, directions=directions, per_element=per_element, limits=limits
        )


def _require(directions: int, per_element: int) -> None:
    for option, value, least in (("--directions", directions, 1), ("--per-element", per_element, 0)):
        if value < least:
            raise GradscopeError(
                f'"{option} {value}" cannot be done.', fix=f"Give {least} or more.", slug="bad-option"
            )

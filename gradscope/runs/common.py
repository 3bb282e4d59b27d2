"""What every run shares."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope import __version__
from gradscope.records import Report, Skipped, Timing, Tool
from gradscope.records.options import LoadOptions
from gradscope.records.progress import Progress
from gradscope.rules import Parts, judge, judging
from gradscope.runs.excerpts import excerpts

if TYPE_CHECKING:
    from gradscope.load.problem import Problem

Limits = Mapping[str, Mapping[str, float]]
"""In the place of numbers of rules: by the rule, by the number."""


@contextlib.contextmanager
def loaded(target: str, loading: LoadOptions, progress: Progress) -> Iterator[tuple[Problem, float]]:
    """The problem of a target, and the seconds that it took; its draws from `random` and NumPy begin with the
    seed, in loading and for as long as the block runs. Imports JAX."""
    start = perf_counter()
    progress(f"loading {target}")
    from gradscope.load.target import load
    from gradscope.load.usercode.random_generators import seeded

    with seeded(loading.seed):
        problem = load(target, loading)
        yield problem, perf_counter() - start


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def tool() -> Tool:
    """The versions and the backend that a report names. Imports JAX."""
    import jax

    return Tool(__version__, jax.__version__, jax.default_backend())


def judged_report(
    target: str,
    parts: Parts,
    timing: Timing,
    *,
    notes: Sequence[str],
    skipped: Sequence[Skipped] = (),
    limits: Limits | None = None,
) -> Report:
    """The report of one question: what was measured, and what all rules make of it. Imports JAX."""
    findings, unjudged = judge(parts, limits=limits)
    return Report(
        target,
        tool(),
        gradients=parts.gradients,
        memory=parts.memory,
        curvature=parts.curvature,
        cost=parts.cost,
        findings=findings,
        notes=tuple(notes),
        skipped=(*skipped, *unjudged),
        timing=timing,
        rules=judging(parts, skipped=unjudged),
        excerpts=excerpts(findings),
    )


def problem_of(loss_fn: Any, params: Any, batch: Any, **fields: Any) -> Problem:
    """The problem itself where one is given in the place of a loss: it holds all the rest already."""
    from gradscope.load.problem import Problem

    return loss_fn if isinstance(loss_fn, Problem) else Problem(loss_fn, params, batch, **fields)

"""Whether two comparisons of optimizers can be compared at all: a gate must not pass because they cannot."""

from __future__ import annotations

from collections.abc import Iterable

from gradscope.errors import GradscopeError
from gradscope.records import Comparison
from gradscope.serialization import report_json


def load(path: str) -> Comparison:
    """Of a saved run. Raises `GradscopeError` where the file holds none."""
    comparison = report_json.load(path).optimizers
    if comparison is None:
        raise GradscopeError(
            f'"{path}" holds no comparison of optimizers.',
            why="It was written by another command.",
            fix="Write one with `gradscope compare-optimizers TARGET --save RUN.json`.",
            slug="unreadable-report",
        )
    return comparison


def require_comparable(now: Comparison, before: Comparison) -> None:
    """Raise `GradscopeError` where losses of the two say nothing about each other."""
    if now.own is None or before.own is None:
        raise GradscopeError(
            "There is no optimizer of yours to compare with the saved run.",
            why="The file gives no `optimizer`, now or when the run was saved, or Ctrl-C came before it ran.",
            fix="Add `optimizer = optax.adam(1e-3)`, or whichever you train with, to the file.",
            slug="runs-differ",
        )
    if now.steps == before.steps and now.seeds == before.seeds:
        return
    first, count = min(before.seeds), len(before.seeds)
    raise GradscopeError(
        f"The saved run has {before.steps} steps and the seeds {_listed(before.seeds)}, this one {now.steps} "
        f"and {_listed(now.seeds)}.",
        why="Losses after other numbers of steps, or from other starts, say nothing about each other.",
        fix=f"Give --steps {before.steps} --seeds {count}{f' --seed {first}' if first else ''}.",
        slug="runs-differ",
    )


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))

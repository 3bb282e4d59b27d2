"""The same problem from several seeds: it is compiled once where only numbers change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.load.usercode.user_code import user_code
from gradscope.records.progress import Progress
from gradscope.runs.measuring import Measured, measure
from gradscope.trace.compiling import compiling_once


def measure_seeds(
    problem: Problem, count: int, *, batches: int = 1, progress: Progress
) -> tuple[Sequence[int], list[Measured]]:
    """The seeds that were measured, from the problem's own on, and what each gave.

    One alone where another seed begins with the same numbers.
    """
    first = problem.seed
    if count == 1 or not begins_elsewhere(problem, problem.reseeded(first + 1), batches):
        return (first,), [measure(problem, batches=batches, progress=progress)]
    seeds = range(first, first + count)
    with compiling_once():
        return seeds, [
            measure(
                problem if seed == first else problem.reseeded(seed),
                batches=batches,
                progress=_numbered(progress, number, count),
            )
            for number, seed in enumerate(seeds, 1)
        ]


def begins_elsewhere(problem: Problem, other: Problem, batches: int) -> bool:
    """Whether anything that is measured may differ: the loss and its keys, the params, or the batches."""
    if problem.takes_key or problem.made_whole or not _same(problem.params, other.params):
        return True
    return not _same(list(_drawn(problem, batches)), list(_drawn(other, batches)))


def require_seeds(count: int) -> None:
    if count < 1:
        raise GradscopeError(
            f"--seeds is {count}.",
            why="At least one seed has to be measured.",
            fix="Give a number of 1 or more.",
            slug="bad-option",
        )


def _drawn(problem: Problem, batches: int) -> Iterator[Any]:
    with user_code("drawing batches"):
        yield from itertools.islice(problem.batches(), batches)


def _same(one: Any, other: Any) -> bool:
    structure: Any = jax.tree.structure(one)
    if structure != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(_equal(ours, theirs) for ours, theirs in pairs)


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, jax.Array) and jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    # Compared as bytes: a NaN is the same NaN.
    a, b = np.asarray(one), np.asarray(other)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _numbered(progress: Progress, number: int, count: int) -> Progress:
    return lambda stage: progress(f"seed {number} of {count}: {stage}")

"""A run from several seeds: each is loaded, drawn, measured and judged before the next one begins.

What `--seeds 3` says of seed 1 is what `--seed 1` says, bit for bit: nothing that the first seed did may be
left for the second to find. Only the compiled program is shared, which takes the numbers as arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.gate.seed_votes import SeedRun
from gradscope.load.problem import Problem
from gradscope.load.target import load
from gradscope.load.usercode.random_generators import seeded
from gradscope.load.usercode.user_file import forget_imported
from gradscope.measure.fingerprint import FIXES, fingerprint
from gradscope.peers.agreeing import require_equal
from gradscope.peers.joined import here
from gradscope.records import Timing
from gradscope.records.options import CheckOptions, LoadOptions
from gradscope.records.progress import Progress
from gradscope.runs.judged import Judge
from gradscope.runs.preparing import Prepared, prepare
from gradscope.runs.stepping import after_steps
from gradscope.trace.compiling import compiling_once


@dataclass(frozen=True)
class Begun:
    """A problem as one seed begins it."""

    problem: Problem
    load_s: float = 0.0


Beginnings = Generator[Begun]
"""One after another; the next one is not begun before the one before it is done with."""


def of_target(target: str, loading: LoadOptions, count: int, progress: Progress) -> Beginnings:
    """`count` problems of a target, from the seed of `loading` on, each as `--seed` loads it.

    Until the next one is asked for, the shared random generators are those of the seed. The file is run again
    for each, and so are the user's modules that it imports: either may draw random numbers while it runs, or
    keep a generator that moves on from batch to batch.
    """
    before = frozenset(sys.modules)
    for number in range(count):
        seed = loading.seed + number
        with seeded(seed):
            start = perf_counter()
            if number:
                progress(f"loading {target} for seed {seed}")
                forget_imported(before)
            try:
                problem = load(target, replace(loading, seed=seed))
            except GradscopeError as error:
                raise _not_again(error, loading.seed) if number else error from error.__cause__
            yield Begun(problem, perf_counter() - start)


def _not_again(error: GradscopeError, first: int) -> GradscopeError:
    again = f"The file ran for seed {first}, and --seeds runs it again for each seed."
    why = f"{error.why} {again}".strip()
    return GradscopeError(error.what, why=why, fix=error.fix, details=error.details, slug=error.slug)


def of_problem(problem: Problem, count: int) -> Beginnings:
    """A problem that is at hand, and the same from the seeds that follow its own."""
    yield Begun(problem)
    for seed in range(problem.seed + 1, problem.seed + count):
        yield Begun(problem.reseeded(seed))


def seed_runs(
    beginnings: Beginnings,
    options: CheckOptions,
    judge: Judge,
    progress: Progress,
) -> list[SeedRun]:
    """Each seed, measured and judged; the first one alone where the second begins with the same numbers."""
    runs: list[SeedRun] = []
    first: Prepared | None = None
    with closing(beginnings), compiling_once() if options.seeds > 1 else nullcontext():
        for number, begun in enumerate(beginnings, 1):
            stage = _numbered(progress, number, options.seeds)
            trains = options.steps != 0
            prepared = prepare(begun.problem, batches=options.batches, trains=trains, progress=stage)
            prepared = alike(prepared)
            if options.after_steps:
                prepared = after_steps(prepared, options.after_steps, stage)
            timing = Timing(begun.load_s).plus(prepared.timing)
            if first is not None and begin_alike(first, prepared):
                return [replace(runs[0], timing=runs[0].timing.plus(timing))]
            first = prepared if number == 1 and options.seeds > 1 else None
            runs.append(judge(prepared, timing, stage, first=number == 1))
    return runs


def alike(prepared: Prepared) -> Prepared:
    """The same, with what there is to say of several processes. Raises where another one that measures with
    this one has another program, or other numbers."""
    count = here().count
    if count == 1:
        return prepared
    first = prepared.inputs[0]
    found = fingerprint(prepared.program, first, prepared.batches[0])
    require_equal(f"seed {prepared.problem.seed}", found, FIXES)
    arrays = [each for each in (*first.weights, *first.others) if isinstance(each, jax.Array)]
    devices = max((len(each.sharding.device_set) for each in arrays), default=1)
    said = (
        f"Measured by {count} processes together, over {devices} devices."
        if any(not each.is_fully_addressable for each in arrays)
        else "No array lies on devices of several processes: each of the "
        f"{count} measured the same by itself. --mesh divides the batch and the params among them, and so "
        "does a mesh of `jax.devices()` in the file."
    )
    return replace(prepared, notes=(*prepared.notes, said))


def begin_alike(one: Prepared, other: Prepared) -> bool:
    """Whether both run one program on the same numbers; a key that the loss does not take is none of them.

    Asked within `compiling_once`, where equal programs are one. What the loss closes over is in the program
    or among its constants.
    """
    if one.flow.compiled.identity != other.flow.compiled.identity:
        return False
    return _same(_numbers(one), _numbers(other))


def _numbers(prepared: Prepared) -> Any:
    keyed = prepared.problem.takes_key
    inputs = [(each.weights, each.others if keyed else each.others[:-1]) for each in prepared.inputs]
    return inputs, list(prepared.program.body.consts)


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
    return progress if count == 1 else lambda stage: progress(f"seed {number} of {count}: {stage}")

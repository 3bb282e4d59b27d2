"""Gradient checkpointing, tried: what each policy saves on the block that repeats, and what it costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from gradscope.footprint.account import compiled_memory, gradient_program, shapes_of
from gradscope.footprint.naming import line_for, named
from gradscope.footprint.peak import peak_bytes
from gradscope.footprint.wrapped import Repeat, repeats, wrapped
from gradscope.records import Checkpointing, CheckpointTrial
from gradscope.records.progress import Progress
from gradscope.trace import jaxprs
from gradscope.trace.compiling import Compiled, free_memory
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs
from gradscope.trace.work import operations

POLICIES = ("nothing_saveable", "dots_saveable", "dots_with_no_batch_dims_saveable")
MOST_REPEATS = 4
"""Loops and repeats of which the one is looked for that saves most."""
QUICK_S = 4.0
"""[seconds] of compiling: where it takes longer, only the policy that is recommended is compiled."""
SMALL = 2e10
"""Operations of a step that is run."""
RUNS = 3
NEARLY = 0.8
"""Of what is saved at most: with so much a policy that computes less is preferred."""
CLEAR = 0.1
"""Of the peak: what a checkpoint has to save to be worth a line of code."""
EQUAL = 1e-3
"""Of the largest element of a leaf, in float32: recomputed values are rounded anew."""


class Plain:
    """The program without checkpoints, to hold the others against."""

    def __init__(self, body: Body, inputs: Inputs, compiled: Compiled, working: int, peak: int) -> None:
        self.body, self.inputs, self.compiled = body, inputs, compiled
        self.working, self.peak = working, peak
        self.weights, self.others = shapes_of(inputs.weights), shapes_of(inputs.others)

    def transformed(self, repeat: Repeat, policy: str) -> Body:
        """The loss with the blocks checkpointed, as a program."""
        run = wrapped(self.body, repeat, getattr(jax.checkpoint_policies, policy))
        return jaxprs.body_of(jax.make_jaxpr(run)(*self.weights, *self.others))


def try_checkpoints(plain: Plain, framework: str, progress: Progress) -> Checkpointing | None:
    """Nothing of the user's file is changed. `None` where nothing repeats."""
    progress("looking for blocks")
    candidates = list(repeats(plain.body))[:MOST_REPEATS]
    tried = [(repeat, _estimated(plain, repeat, POLICIES[0])) for repeat in candidates]
    if not tried:
        return None
    repeat, first = min(tried, key=lambda each: each[1][1].working)
    rest = [first, *(_estimated(plain, repeat, policy) for policy in POLICIES[1:])]
    rest.sort(key=lambda each: each[1].working)
    work = operations(gradient_program(plain.body, plain.weights, plain.others))
    step_s, gradient = _run(plain, plain.compiled, work)
    quick = plain.compiled.compile_s < QUICK_S
    # By the account alone where compiling takes long; the one that is recommended then is compiled, too.
    expected = _recommended(plain, [trial for _, trial in rest]) or rest[0][1]
    trials = [
        _compiled(plain, body, trial, gradient, work, progress) if quick or trial is expected else trial
        for body, trial in rest
    ]
    trials.sort(key=lambda trial: peak_of(plain, trial))
    seen = [trial for trial in trials if trial.compiled is not None]
    where, best = named(repeat), _recommended(plain, seen)
    return Checkpointing(
        block=where.text,
        source=where.source,
        count=repeat.count,
        loop=repeat.loop is not None,
        operations=work,
        step_s=step_s,
        trials=tuple(trials),
        recommended="" if best is None else best.policy,
        line="" if best is None else line_for(where, best.policy, framework),
    )


def peak_of(plain: Plain, trial: CheckpointTrial) -> int:
    """By XLA where it did as it was asked to, else by what is accounted."""
    if trial.compiled is not None and not trial.undone:
        return trial.compiled.peak
    return max(0, plain.peak - plain.working) + trial.working


def _recommended(plain: Plain, trials: Sequence[CheckpointTrial]) -> CheckpointTrial | None:
    """The one that computes least of those that save nearly as much as the first."""
    best = plain.peak - peak_of(plain, trials[0])
    if best < CLEAR * plain.peak:
        return None
    right = [
        trial
        for trial in trials
        if plain.peak - peak_of(plain, trial) >= NEARLY * best
        and (trial.gradient_error is None or trial.gradient_error <= EQUAL)
    ]
    return min(right, key=lambda trial: trial.operations, default=None)


def _estimated(plain: Plain, repeat: Repeat, policy: str) -> tuple[Body, CheckpointTrial]:
    body = plain.transformed(repeat, policy)
    gradient = gradient_program(body, plain.weights, plain.others)
    return body, CheckpointTrial(policy, peak_bytes(gradient), operations(gradient))


def _compiled(
    plain: Plain, body: Body, trial: CheckpointTrial, gradient: Any, work: float, progress: Progress
) -> CheckpointTrial:
    progress(f"compiling with {trial.policy}")
    memory, compiled = compiled_memory(body, plain.weights, plain.others)
    step_s, found = _run(plain, compiled, work)
    error = None if gradient is None or found is None else largest_error(gradient, found)
    asks = plain.working - trial.working >= CLEAR * plain.peak
    undone = asks and memory.peak > (1 - CLEAR / 2) * plain.peak
    return replace(trial, compiled=memory, undone=undone, step_s=step_s, gradient_error=error)


def _run(plain: Plain, compiled: Compiled, work: float) -> tuple[float | None, Any]:
    """Seconds of a step and its gradient, where the step is small."""
    free = free_memory()
    if work > SMALL or (free is not None and plain.peak > free / 2):
        return None, None
    times, gradient = [], None
    for _ in range(RUNS):
        start = time.perf_counter()
        _, gradient = compiled(plain.inputs.weights, plain.inputs.others)
        times.append(time.perf_counter() - start)
    return statistics.median(times), gradient


def largest_error(expected: Sequence[Any], found: Sequence[Any]) -> float:
    """Largest difference of two gradients, over the largest element of its leaf."""
    errors = []
    for one, other in zip(expected, found, strict=True):
        wide = jnp.promote_types(one.dtype, jnp.float32)
        scale = jnp.max(jnp.abs(one.astype(wide)), initial=0.0)
        difference = jnp.max(jnp.abs(one.astype(wide) - other.astype(wide)), initial=0.0)
        errors.append(jnp.where(difference == 0, 0.0, difference / scale))
    return float(jnp.max(jnp.stack(errors)))

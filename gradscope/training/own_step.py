"""The training step that a file writes itself, run a few times and held against the gradient of its loss."""

from __future__ import annotations

import linecache
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from gradscope.load.model.frameworks.base import code_of
from gradscope.load.model.frameworks.table import transform_of
from gradscope.load.model.optimizers import is_optimizer
from gradscope.load.model.step_call import OPTIMIZER_STATES
from gradscope.load.problem import Problem
from gradscope.load.signature.companions import STATE_NAMES
from gradscope.records import (
    LostState,
    OwnTrainStep,
    ShortTraining,
    Skipped,
    Source,
    SteppedLeaf,
    StepTrial,
)
from gradscope.records.train_step import GROWS, HALF, NO_DESCENT
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs.inlining import live
from gradscope.trace.program import Program
from gradscope.trace.sources import source_at
from gradscope.trace.spread import in_reach
from gradscope.training.optimizer import Leaves, widened
from gradscope.training.short import Trained
from gradscope.training.step_numbers import (
    GRADIENT_MAX,
    UPDATE,
    UPDATE_MAX,
    Floats,
    cosine_of,
    numbers_of_updates,
    together,
)
from gradscope.training.step_program import StepProgram, step_program

SHORTER = 0.1, 0.01, 0.001
LONGER = 10.0, 100.0, 1e3, 1e4, 1e5
HARDLY = 0.05
"""Share of the optimizer's fall of the loss, below which longer steps are tried."""
ENOUGH, FURTHER = 20, 5
"""Steps after which, where the loss has not fallen, so many times as many are made before that is told."""
DECORATORS = 10
"""Lines that may stand above the `def` of a function."""


def own_step(
    problem: Problem, program: Program, found: Trained, record: ShortTraining
) -> OwnTrainStep | Skipped | None:
    """`None` where the file writes none, `Skipped` where it cannot be run as it stands."""
    traced = step_program(problem, found.trainer.weights, found.trainer.feed.drawn)
    return _judged(traced, program, found, record) if isinstance(traced, StepProgram) else traced


def _judged(traced: StepProgram, program: Program, found: Trained, record: ShortTraining) -> OwnTrainStep:
    trainer, role = found.trainer, traced.call.role
    gradients = trainer.gradients()[1]
    alive = numbers_of_updates(gradients, gradients)[:, GRADIENT_MAX] != 0
    layer_of = {leaf: group.name for group in program.layers for leaf in group.leaves}
    count, moved, as_it_came = record.steps, [False] * len(gradients), [False] * len(gradients)
    cosine, growth, end = None, None, math.nan
    cosines: list[float | None] = [None] * len(gradients)
    trials: list[StepTrial] = []

    def loss(weights: Leaves) -> float:
        return trainer.mean_loss(weights, record.batches)[0]

    start, reference = loss(trainer.weights), loss(found.weights)
    if traced.comes_back(role):
        as_it_came, weights = traced.as_they_came(), trainer.weights
        for number, after in enumerate(traced.run(count)):
            seen = numbers_of_updates(gradients, _between(weights, after))
            moved = [old or bool(row[UPDATE_MAX] != 0) for old, row in zip(moved, seen, strict=True)]
            if number == 0:
                cosine, cosines = _descent(together(seen)), [_descent(row) for row in seen]
            weights = after
        end = loss(weights)
        if any(moved) and not end < start and count >= ENOUGH:
            count *= FURTHER
            end = loss(_last(traced.run(count)))
        if _far_too_little((start, end, reference), cosine):
            growth = _growth(trainer.weights, traced.run(record.steps, first=True))
        for factor in _factors((start, end, reference), cosine, growth) if not _both_ways(cosines) else ():
            trials.append(StepTrial(factor, loss(_last(traced.run(count, factor)))))
            if _falls_again(start, trials[-1], reference):
                break
    return OwnTrainStep(
        name=traced.step.name,
        source=_source(traced.step.function),
        last_line=_last_line(traced.step.function),
        steps=count,
        batches=record.batches,
        returned=traced.comes_back(role),
        leaves=tuple(
            SteppedLeaf(leaf.name, layer_of[at], bool(alive[at]), moved[at], as_it_came[at], cosines[at])
            for at, leaf in enumerate(program.leaves)
        ),
        lost=tuple(_lost(traced, found)) if any(moved) else (),
        cosine=cosine,
        growth=growth,
        start=start,
        end=end,
        end_optimizer=reference,
        loop=traced.loop() if any(moved) else None,
        trials=tuple(trials),
    )


def _descent(row: Floats) -> float | None:
    """The cosine of a step and minus the gradient."""
    found = cosine_of(row)
    return None if found is None else -found


def _growth(start: Leaves, steps: Iterable[Leaves]) -> float | None:
    """The length of the last step over that of the first."""
    before, lengths = start, []
    for after in steps:
        moved = _between(before, after)
        lengths.append(together(numbers_of_updates(moved, moved))[UPDATE])
        before = after
    early, late = float(lengths[0]), float(lengths[-1])
    return math.sqrt(late / early) if 0 < early < math.inf and math.isfinite(late) else None


def _last(steps: Iterable[Leaves]) -> Leaves:
    """No copy of the others is kept."""
    (last,) = deque(steps, maxlen=1)
    return last


def _between(before: Leaves, after: Leaves) -> Leaves:
    """On a CPU NumPy subtracts where they lie: JAX would compile a program for each shape."""
    near = [map(np.asarray, pair) if in_reach(pair) else pair for pair in zip(before, after, strict=True)]
    return [widened(b) - widened(a) for a, b in near]


def _both_ways(cosines: Sequence[float | None]) -> bool:
    """Players of a game climb and descend on purpose: nothing is tried."""
    told = [each for each in cosines if each is not None]
    return any(each < -NO_DESCENT for each in told) and any(each > NO_DESCENT for each in told)


def _far_too_little(losses: tuple[float, float, float], cosine: float | None) -> bool:
    """`losses`: at the start, after the steps, and after those of the optimizer."""
    start, end, reference = losses
    falls = cosine is not None and cosine > NO_DESCENT and end < start
    return falls and start - end < HARDLY * (start - reference)


def _factors(
    losses: tuple[float, float, float], cosine: float | None, growth: float | None
) -> tuple[float, ...]:
    """What is tried."""
    start, end, _ = losses
    if cosine is None or not math.isfinite(start):
        return ()
    if not end < start:
        return (-1.0,) if cosine < -NO_DESCENT else SHORTER if cosine > NO_DESCENT else ()
    # The growth is known where the loss falls far too little: a warm-up is no fault.
    return LONGER if growth is not None and growth < GROWS else ()


def _falls_again(start: float, trial: StepTrial, reference: float) -> bool:
    """Longer steps have to reach half of what the optimizer reaches."""
    enough = HALF * (start - reference) if trial.factor > 1 else 0.0
    return start - trial.end > enough


def _lost(traced: StepProgram, found: Trained) -> Iterator[LostState]:
    """States that come in and do not go on: what the step gives back of them is what it was given."""
    for name, field, places in _states(traced):
        before, after = traced.variables(name)
        own = [before[place] for place in places]
        if after is not None and any(after[place] is not before[place] for place in places):
            if field in OPTIMIZER_STATES and not _read(traced, own, name, places) and _is_used(traced, found):
                yield LostState(field, optimizer=True, returned=True, read=False)
            continue
        read = _read(traced, own, name, places)
        if field in OPTIMIZER_STATES or not read:
            yield LostState(field, field in OPTIMIZER_STATES, returned=after is not None, read=read)


def _is_used(traced: StepProgram, found: Trained) -> bool:
    """Whether what the optimizer of the file adds depends on its state at all: that of `zero_nans` is a
    report. Where the file gives none, nobody knows."""
    trainer = found.trainer
    named = [value for value in traced.call.names.values() if is_optimizer(value)]
    transform = trainer.rule.transform if trainer.rule.own else transform_of(traced.holder)
    if transform is None and len(named) != 1:
        return False
    transform = named[0] if transform is None else transform
    rule, weights = replace(trainer.rule, transform=transform), trainer.weights
    loss, gradients = trainer.gradients()
    leaves, structure = jax.tree.flatten(rule.fresh(weights))

    def updates(leaves: Leaves) -> Leaves:
        state = jax.tree.unflatten(structure, leaves)
        return rule(weights, gradients, state, loss, lambda _: loss)[0]

    body = jaxprs.body_of(jax.make_jaxpr(updates)(leaves))
    return any(live(body, [True] * len(body.jaxpr.outvars))[1])


def _states(traced: StepProgram) -> Iterator[tuple[str, str, list[int]]]:
    """The object, the name of the state, and the places of its arrays: objects beside the parameters, and
    fields of a training state."""
    role = traced.call.role
    for name in traced.names:
        if name != role and traced.start[name] and (name in OPTIMIZER_STATES or name in STATE_NAMES):
            yield name, name, list(range(len(traced.start[name])))
    fields: dict[str, list[int]] = {}
    for place, field in enumerate(traced.call.moving[role].fields):
        fields.setdefault(field, []).append(place)
    for field in (*OPTIMIZER_STATES, *STATE_NAMES):
        if field in fields and not set(fields[field]) & set(traced.places):
            yield role, field, fields[field]


def _read(traced: StepProgram, own: Sequence[Any], name: str, places: Sequence[int]) -> bool:
    """Whether anything else that the step gives back depends on it."""
    after = traced.variables(name)[1]
    mine = {id(after[place]) for place in places} if after is not None else set()
    wanted = [id(each) not in mine for each in traced.body.jaxpr.outvars]
    used = live(traced.body, wanted)[1]
    return any(read and var in own for read, var in zip(used, traced.body.jaxpr.invars, strict=True))


def _source(function: Any) -> Source | None:
    code = code_of(function)
    if code is None:
        return None
    first = code.co_firstlineno
    lines = range(first, first + DECORATORS)
    line = next(
        (n for n in lines if linecache.getline(code.co_filename, n).lstrip().startswith("def ")), first
    )
    return source_at((code.co_filename, line))


def _last_line(function: Any) -> int:
    code = code_of(function)
    return 0 if code is None else max((line for *_, line in code.co_lines() if line), default=0)

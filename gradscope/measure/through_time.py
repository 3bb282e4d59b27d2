"""Credit through time: what each step of a loop contributes to the gradient, and how far back it reaches.

Measured only when asked for, on one batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.measure.credit_pass import CreditPass, followed
from gradscope.measure.flow import FlowPass, Sample
from gradscope.measure.recurrences import name_of
from gradscope.measure.state_memories import memories_of, values_at_steps
from gradscope.measure.truncation import truncation
from gradscope.records import Contribution, LayerSteps, Skipped, TimeCredit, Timing, Truncation
from gradscope.trace.credit import Directions, Sinks
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import members_of
from gradscope.trace.sources import source_of
from gradscope.trace.statistics import norm, stats_dtype
from gradscope.trace.time_steps import Piece, Timeline, timelines

Steps = NDArray[np.float64]
NO_LOOP = (
    "the gradient goes through no loop over time (`lax.scan`) that applies parameters and carries a state; "
    "a loop that is written out in Python is so many uses of its layers, and one that only iterates (a "
    "solver, inner steps of training) is none"
)
NOT_BY_STEP = "it stands in a branch of `cond` or in `shard_map`, where its steps are not run one by one"


@dataclass(frozen=True)
class ThroughTime:
    credit: tuple[TimeCredit, ...]
    truncation: Truncation | None
    skipped: tuple[Skipped, ...]
    timing: Timing


def through_time(
    program: Program,
    flow: FlowPass,
    inputs: Inputs,
    *,
    credit: bool,
    truncate: int | None,
    progress: Callable[[str], None],
) -> ThroughTime:
    """At the inputs of one batch. `credit`: of each loop; `truncate`: what is lost where no gradient goes
    back over a multiple of so many steps."""
    progress("following the gradient through time")
    started = time.perf_counter()
    sample = flow(inputs)
    found, left = timelines(program.body, program.plan, program.loops)
    loops = [each for each in (followed(sample, one) for one in found) if each is not None]
    skipped = [Skipped(f"credit through time of the {name_of(loop)}", NOT_BY_STEP) for loop in left]
    if not loops:
        reason = [] if left else [Skipped("credit through time", NO_LOOP)]
        return ThroughTime((), None, (*skipped, *reason), Timing(run_s=time.perf_counter() - started))
    run = CreditPass(program, inputs, loops)
    timing = Timing(0.0, run.compiled.trace_s, run.compiled.compile_s, 0.0)
    began = time.perf_counter()
    whole, gradients = run()
    records = _credit(program, sample, inputs, run, whole) if credit else ()
    lost = None if truncate is None else truncation(program, gradients, run(truncate=truncate)[1], truncate)
    return ThroughTime(
        records,
        lost,
        tuple(skipped),
        timing.plus(Timing(run_s=time.perf_counter() - began)),
    )


def _credit(
    program: Program, sample: Sample, inputs: Inputs, run: CreditPass, whole: dict[int, Sinks]
) -> tuple[TimeCredit, ...]:
    sums = {id(each): _sums(each.timeline, whole) for each in run.loops}
    directions: dict[int, Directions] = {}
    for each in run.loops:
        directions.update(_directions(each.timeline, sums[id(each)]))
    products, _ = run(directions)
    values = values_at_steps(program, run.loops, inputs)
    found = []
    for number, each in enumerate(run.loops):
        found.append(
            TimeCredit(
                name=each.name,
                source=source_of(each.timeline.loop.eqn),
                length=len(each.timeline.steps),
                layers=tuple(_layers(program, sample, each.timeline)),
                contributions=tuple(_contributions(program, each.timeline, whole, products, sums[id(each)])),
                memories=tuple(memories_of(number, each, whole, values)),
            )
        )
    return tuple(found)


Key = tuple[int, int, tuple[int, ...]]
"""Of a weight in all pieces of a loop: its leaves, which of those made of them it is, and its shape."""


def _keys(piece: Piece) -> dict[int, Key]:
    found: dict[int, Key] = {}
    for number, bits in piece.weights.items():
        ordinal = sum(key[0] == bits for key in found.values())
        found[number] = bits, ordinal, piece.aval(number).shape
    return found


def _sums(timeline: Timeline, whole: dict[int, Sinks]) -> dict[Key, Steps]:
    """What all steps contribute; leading axes of loops that repeat the loop are kept."""
    found: dict[Key, Steps] = {}
    for piece in timeline.pieces:
        for number, key in _keys(piece).items():
            part = np.asarray(whole[piece.number].total[number], np.float64).sum(piece.outer)
            found[key] = found[key] + part if key in found else part
    return found


def _directions(timeline: Timeline, sums: dict[Key, Steps]) -> dict[int, Directions]:
    """Unit vectors along the sums, for each piece in the shape of its sinks."""
    units = {key: each / (_norm(each) or 1.0) for key, each in sums.items()}
    found: dict[int, Directions] = {}
    for piece in timeline.pieces:
        found[piece.number] = {}
        for number, key in _keys(piece).items():
            shape = (*piece.lead[:-1], *piece.aval(number).shape)
            unit = np.broadcast_to(np.expand_dims(units[key], piece.outer), shape)
            found[piece.number][number] = unit.astype(stats_dtype(piece.aval(number).dtype))
    return found


def _norm(values: Steps) -> float:
    return float(norm(np.abs(values).ravel(), (0,)))


def _contributions(
    program: Program,
    timeline: Timeline,
    whole: dict[int, Sinks],
    products: dict[int, Sinks],
    sums: dict[Key, Steps],
) -> Iterator[Contribution]:
    for key, total in sums.items():
        norms, along = [], []
        for piece in timeline.pieces:
            place = next((i for i, k in _keys(piece).items() if k == key), None)
            zeros = np.zeros(piece.lead)
            norms.append(zeros if place is None else whole[piece.number].norms[place])
            along.append(zeros if place is None else products[piece.number].products[place])
        steps, size = timeline.norms_by_step(norms), _norm(total)
        if not steps.any():
            continue
        usable = math.isfinite(size) and size > 0
        shares = timeline.by_step(along) / size if usable else np.full(len(steps), math.nan)
        yield Contribution(
            parameters=tuple(program.leaves[leaf].name for leaf in members_of(key[0])),
            gradient_norm=size,
            norms=tuple(steps.tolist()),
            shares=tuple(shares.tolist()),
        )


def _layers(program: Program, sample: Sample, timeline: Timeline) -> Iterator[LayerSteps]:
    """δ of each layer whose output is made at each step."""
    loops = {piece.plan.lead: number for number, piece in enumerate(timeline.pieces)}
    inside = {site.id for site in timeline.loop.sites}
    for group in program.layers:
        parts: list[Steps | None] = [None] * len(timeline.pieces)
        for site in group.sites:
            number = next((n for lead, n in loops.items() if site.lead[: len(lead)] == lead), None)
            if site.id not in inside or number is None:
                continue
            part = sample.delta[site.id].along(timeline.pieces[number].axes) ** 2
            before = parts[number]
            parts[number] = part if before is None else before + part
        if any(part is not None for part in parts):
            flat = [
                np.zeros([piece.lead[axis] for axis in piece.axes]) if part is None else part
                for piece, part in zip(timeline.pieces, parts, strict=True)
            ]
            norms = [flat[piece].ravel()[place] ** 0.5 for piece, place in timeline.steps]
            yield LayerSteps(group.name, tuple(float(each) for each in norms))

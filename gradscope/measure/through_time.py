"""Credit through time: what each step of a loop contributes to the gradient, and how far back it reaches.

Measured only when asked for, on one batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from gradscope.measure.credit_pass import CreditPass, followed
from gradscope.measure.flow import FlowPass, Sample
from gradscope.measure.recurrences import name_of
from gradscope.measure.state_memories import memories_of, values_at_steps
from gradscope.measure.truncation import truncation
from gradscope.records import Contribution, LayerSteps, Skipped, TimeCredit, Timing, Truncation
from gradscope.trace.credit import Directions, Sinks, norm_of
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import members_of
from gradscope.trace.sources import source_of
from gradscope.trace.time_steps import Piece, Timeline, timelines

Steps = NDArray[np.float64]
NO_LOOP = (
    "the gradient goes through no loop over time (`lax.scan`) that applies parameters and carries a state; "
    "a loop that is written out in Python is so many uses of its layers"
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


def _sums(timeline: Timeline, whole: dict[int, Sinks]) -> dict[Key, Array]:
    """What all steps contribute; leading axes of loops that repeat the loop are kept."""
    found: dict[Key, Array] = {}
    for piece in timeline.pieces:
        axes = tuple(axis for axis in piece.axes if axis < len(piece.lead) - 1)
        for number, key in _keys(piece).items():
            part = whole[piece.number].total[number].sum(axes)
            found[key] = found[key] + part if key in found else part
    return found


def _directions(timeline: Timeline, sums: dict[Key, Array]) -> dict[int, Directions]:
    """Unit vectors along the sums, for each piece in the shape of its sinks."""
    units = {key: each / _safe(norm_of([each])) for key, each in sums.items()}
    found: dict[int, Directions] = {}
    for piece in timeline.pieces:
        axes = tuple(axis for axis in piece.axes if axis < len(piece.lead) - 1)
        found[piece.number] = {
            number: jnp.broadcast_to(
                jnp.expand_dims(units[key], axes), (*piece.lead[:-1], *piece.aval(number).shape)
            )
            for number, key in _keys(piece).items()
        }
    return found


def _safe(norm: Array) -> Array:
    return jnp.where(jnp.isfinite(norm) & (norm > 0), norm, 1.0)


def _contributions(
    program: Program,
    timeline: Timeline,
    norms: dict[int, Sinks],
    products: dict[int, Sinks],
    sums: dict[Key, Array],
) -> Iterator[Contribution]:
    for key, total in sums.items():
        places = [next((i for i, k in _keys(piece).items() if k == key), None) for piece in timeline.pieces]

        def by_step(
            found: dict[int, Sinks], name: str, places: Sequence[int | None] = places, power: int = 1
        ) -> Steps:
            parts = []
            for piece, place in zip(timeline.pieces, places, strict=True):
                part = np.zeros(piece.lead)
                if place is not None:
                    part = np.asarray(getattr(found[piece.number], name)[place], np.float64)
                parts.append(part**power)
            return timeline.by_step(parts)

        norm = float(norm_of([total]))
        steps = by_step(norms, "norms", power=2) ** 0.5
        if not steps.any():
            continue
        usable = math.isfinite(norm) and norm > 0
        shares = by_step(products, "products") / norm if usable else np.full(len(steps), math.nan)
        yield Contribution(
            parameters=tuple(program.leaves[leaf].name for leaf in members_of(key[0])),
            gradient_norm=norm,
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

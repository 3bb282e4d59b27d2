"""Whether δ falls or grows *steadily* along the way back from the loss, over depth or over time.

Levels are natural logarithms of the norm of δ; index 0 is the far end (first layer, first step), the
last index is next to the loss. Ratios become differences, so nothing here moves when the loss is scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from gradscope.records import Layer, Measurement, Recurrence

T = TypeVar("T")

# Logarithms of a ratio that sits exactly on its limit may round to either side of it.
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Fall:
    """A steady fall: all numbers are for the way from `last` back to `first`."""

    total: float
    """Logarithm of the whole fall, > 0."""
    first: int
    last: int
    """The stretch where it happens; level stretches at both ends are left out."""
    ratio: float
    """Geometric mean over the steps of that stretch, < 1."""


def factor(level: float) -> float:
    """exp, held within what a float can say: δ may run from the smallest double to the largest."""
    return math.exp(max(-700.0, min(level, 700.0)))


def lasting_falls(levels: Sequence[float]) -> list[float]:
    """How far δ falls at each step for good; entry i is the step from i + 1 back to i.

    A fall that is made up for nearer to the far end is no loss of credit: a branch, a bottleneck, the
    two levels of attention and feed-forward blocks. So the level at i counts as the highest one at i or
    beyond, capped by the level at the loss. The falls then sum to `levels[-1] - levels[0]`, or are 0.
    """
    reached: list[float] = []
    highest = -math.inf
    for level in levels:
        highest = max(highest, level)
        reached.append(min(highest, levels[-1]))
    return [after - before for before, after in pairwise(reached)]


def steady_fall(levels: Sequence[float], limit: float) -> Fall | None:
    """The fall of `levels`, where it exceeds `limit` and no one or two jumps account for it.

    `limit` is a logarithm > 0. Without its largest step the fall must still be half of that, without its
    two largest a quarter: a head at a hundredth of its scale, or a pooling layer, is a jump and no decay.
    """
    falls = lasting_falls(levels)
    total = sum(falls)
    if len(falls) < 3 or total < limit - TOLERANCE:
        return None
    largest = sorted(falls, reverse=True)
    if total - largest[0] < limit / 2 - TOLERANCE or total - sum(largest[:2]) < limit / 4 - TOLERANCE:
        return None
    steep = [step for step, fall in enumerate(falls) if fall >= 0.5 * total / len(falls)]
    first, last = steep[0], steep[-1] + 1
    return Fall(total, first, last, factor(-sum(falls[first:last]) / (last - first)))


def depth_profile(measurement: Measurement) -> list[tuple[Layer, float]]:
    """One layer and its level per depth, from the input to the loss.

    Of layers side by side the one with the largest δ speaks: credit takes the best path. Exact zeros and
    values that are not finite say nothing about decay. An embedding table used twice (tied input and
    output) is measured as a sum over both ends of the network, so it stands at no depth.
    """
    best: dict[int, tuple[Layer, float]] = {}
    for layer in measurement.layers:
        norm, depth = layer.delta_norm, layer.depth
        if norm is None or depth is None or not (math.isfinite(norm) and norm > 0):
            continue
        if layer.op == "gather" and layer.uses > 1:
            continue
        if depth not in best or math.log(norm) > best[depth][1]:
            best[depth] = (layer, math.log(norm))
    return [best[depth] for depth in sorted(best)]


def unmeasured(measurement: Measurement, profile: Sequence[object], least: int) -> str:
    """Why a profile is too short to judge, where that is no property of the network; else empty."""
    asleep = {p.name for p in measurement.parameters if p.nonzero_after_steps}
    zero = sum(
        layer.delta_norm == 0 and bool(layer.nonzero_after_steps or asleep & {*layer.parameters})
        for layer in measurement.layers
    )
    if len(profile) < least <= len(profile) + zero:
        return (
            f"δ is exactly zero at {zero} layers before the first step (a zero-initialized head or gain) and "
            "alive a few steps later: check again with parameters from there"
        )
    blank = sum(layer.delta_norm is None and layer.gradient_max > 0 for layer in measurement.layers)
    if len(profile) >= least or len(profile) + blank < least:
        return ""
    return f"δ was measured at {len(profile)} depths only, {least} are needed; {blank} layers have no δ"


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a loop that the loss reaches: the unbroken run of non-zero δ that ends nearest to it."""

    start: int
    end: int
    """Steps `start` to `end`, both included, counted from 0."""
    levels: tuple[float, ...]


def worst_of_each_loop(found: Sequence[tuple[Recurrence, float, T]]) -> list[T]:
    """One for a loop that carries several states, as an LSTM does: the one of the smallest level."""
    worst: dict[object, tuple[float, T]] = {}
    for recurrence, level, each in found:
        loop = recurrence.source, recurrence.layers
        if loop not in worst or level < worst[loop][0]:
            worst[loop] = level, each
    return [each for _, each in worst.values()]


def time_profile(recurrence: Recurrence) -> Steps | None:
    """Going back from the last step that has a δ, up to the first that has none.

    A zero that follows large values is a cut (truncated backpropagation, padding, a state that is not
    used), and what lies before it is not judged.
    """
    norms = recurrence.delta_norms
    end = next((t for t in reversed(range(len(norms))) if norms[t] != 0), None)
    if end is None:
        return None
    start = end + 1
    while start > 0 and math.isfinite(norms[start - 1]) and norms[start - 1] > 0:
        start -= 1
    if start > end:
        return None
    return Steps(start, end, tuple(math.log(norm) for norm in norms[start : end + 1]))

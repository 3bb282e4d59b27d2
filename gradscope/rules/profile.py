"""Finds a *steady* decay or growth of δ on the way back from the loss, over depth or over time.

Levels are natural logarithms of the norm of δ; index 0 is the far end (first layer, first step), the
last index is next to the loss. Ratios become differences, so nothing here depends on the scale of the loss.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from gradscope.records import Layer, Measurement, Recurrence

T = TypeVar("T")
PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})
"""Operations that multiply a weight with what comes in."""

# Logarithms of a ratio that sits exactly on its limit may round to either side of it.
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Fall:
    """A steady fall; all numbers are for the way from `last` back to `first`."""

    total: float
    """Logarithm of the whole fall, > 0."""
    first: int
    last: int
    """The range where it happens, without the level parts at both ends."""
    ratio: float
    """Geometric mean over the steps of that range, < 1."""


def factor(level: float) -> float:
    """exp(level), clipped to the range of a float."""
    return math.exp(max(-700.0, min(level, 700.0)))


def lasting_falls(levels: Sequence[float]) -> list[float]:
    """How far δ falls for good at each step; entry i is the step from i + 1 back to i.

    A fall that is regained nearer to the far end is not a loss of credit: a branch, a bottleneck, the
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

    Of layers at the same depth the one with the largest δ counts: credit takes the best path. Exact zeros and
    values that are not finite are no evidence of decay. An embedding table used twice (tied input and
    output) is measured as a sum over both ends of the network, so it has no depth. Parameters that are no
    weights of products, as the controls of a trajectory are, make no network with a depth.
    """
    best: dict[int, tuple[Layer, float]] = {}
    if sum(layer.op in PRODUCTS for layer in measurement.layers) < 2:
        return []
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
    """Why a profile is too short to judge, unless the network itself is that shallow; else empty."""
    waking = {p.name for p in measurement.parameters if p.nonzero_after_steps}
    stacked = {name for name, uses in Counter(_leaves(measurement)).items() if uses > 1}
    zero = sum(
        layer.delta_norm == 0 and bool(layer.nonzero_after_steps or waking & ({*layer.parameters} - stacked))
        for layer in measurement.layers
    )
    if len(profile) < least <= len(profile) + zero:
        return (
            f"δ is exactly zero at {zero} layers before the first step (a zero-initialized head or gain, or "
            "an expert that this batch does not use) and nonzero a few optimizer steps later; check again "
            "after some steps (`--after-steps 20`)"
        )
    blank = sum(layer.delta_norm is None and layer.gradient_max > 0 for layer in measurement.layers)
    if len(profile) >= least or len(profile) + blank < least:
        return ""
    return f"δ was measured at {len(profile)} depths, {least} are needed; {blank} layers have no measured δ"


def _leaves(measurement: Measurement) -> Iterator[str]:
    """The parameters of each layer; one that holds a stack of layers has several."""
    for layer in measurement.layers:
        yield from layer.parameters


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a loop that the loss depends on: the last unbroken run of nonzero δ."""

    start: int
    end: int
    """Steps `start` to `end`, both included, counted from 0."""
    levels: tuple[float, ...]


def worst_of_each_loop(found: Sequence[tuple[Recurrence, float, T]]) -> list[T]:
    """One result per loop that carries several states, as an LSTM does: the one with the smallest level."""
    worst: dict[object, tuple[float, T]] = {}
    for recurrence, level, each in found:
        loop = recurrence.source, recurrence.layers
        if loop not in worst or level < worst[loop][0]:
            worst[loop] = level, each
    return [each for _, each in worst.values()]


def time_profile(recurrence: Recurrence) -> Steps | None:
    """From the last step with a nonzero δ back to the first one without.

    A zero that follows large values is a cut (truncated backpropagation, padding, an unused state), and the
    steps before it are not judged.
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

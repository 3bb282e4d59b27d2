"""Whether a loss has a floor that training comes near: without one the lowest loss has no meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gradscope.optimizers.curves import Curve, smoothed, window_of
from gradscope.optimizers.engines import TrainingRun
from gradscope.records import RangeTest

FAR = 100.0
"""Multiple of the initial loss by which a loss without a floor has fallen below zero. Losses that may be
negative (densities, energies) fell by no more than a few times their size before they flattened."""
STEADY = 0.8
"""Share of the fall in the first half of a run that the second half still makes: a loss linear in the weights
keeps it under a steady step, one that nears its lowest value does not."""
PROPORTIONAL = 0.6
"""Of two neighbouring rates, the share of their ratio by which the falls must differ: it is 1 for a loss that
is linear in the weights, and more for one that is linear in the scores of several layers."""
GAP = 4.0
"""More than half a decade between two rates."""
FEWEST = 3
"""Losses by which two halves can be compared."""
NO_FLOOR = (
    "A loss that falls without end has no best optimizer and no best learning rate: a lower number says "
    "nothing of the model. It may lack a `log_softmax`, a square or a bound, or have the wrong sign."
)


def falls_without_end(runs: Sequence[TrainingRun]) -> bool:
    """Whether the loss of one optimizer falls without end, by its runs.

    At some learning rate the loss of every seed fell far below zero and no slower toward the end; from the
    next lower rate up to the highest one the falls grow about as the rates do.
    """
    curves: dict[float, list[Curve]] = {}
    for run in (run for run in runs if run.setting.decay == runs[0].setting.decay):
        curves.setdefault(run.setting.rate, []).append(_finite(run.losses))
    rates = _dense(sorted(curves))
    return any(
        all(map(_falls_steadily, curves[rates[place]])) and _grow(curves, rates[place - 1 :])
        for place in range(1, len(rates))
    )


def _dense(rates: Sequence[float]) -> Sequence[float]:
    """Without those above a gap: a decade higher the same layers may already be saturated."""
    gaps = (place for place, (low, high) in enumerate(pairwise(rates), 1) if high > GAP * low)
    return rates[: next(gaps, len(rates))]


def _grow(curves: dict[float, list[Curve]], rates: Sequence[float]) -> bool:
    return all(
        _falls_further(one, other, PROPORTIONAL * upper / lower)
        for lower, upper in pairwise(rates)
        for one, other in zip(curves[lower], curves[upper], strict=True)
    )


def _falls_further(one: Curve, other: Curve, factor: float) -> bool:
    """Whether `other` has fallen `factor` times as far as `one` where the shorter of the two ends; of what is
    not finite after the first step nothing is known."""
    last = min(len(one), len(other)) - 1
    return last == 0 or (last > 0 and other[0] - other[last] >= factor * (one[0] - one[last]))


def _finite(losses: Curve) -> Curve:
    first = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    return losses[:first]


def _falls_steadily(curve: Curve) -> bool:
    if len(curve) < FEWEST:
        return False
    means = smoothed(curve, window_of(len(curve)))
    start, middle, end = float(means[0]), float(means[len(means) // 2]), float(means[-1])
    first, second = start - middle, middle - end
    return _is_far(start, end) and first > 0 and second >= STEADY * first


def _is_far(start: float, end: float) -> bool:
    return end < 0 and start - end >= FAR * abs(start)


def ramps_without_end(tests: Sequence[RangeTest]) -> bool:
    """Of the range tests: whether in most the loss fell far below zero and was lowest at the highest rate."""
    count = sum(_is_far(test.losses[0], test.losses[-1]) and _ends_lowest(test) for test in tests)
    return count > len(tests) / 2


def _ends_lowest(test: RangeTest) -> bool:
    return int(np.argmin(test.losses)) == len(test.losses) - 1

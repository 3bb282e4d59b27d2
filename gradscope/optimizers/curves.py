"""Numbers of loss curves: where they end, when they reach a target, which of them differ. No JAX.

A curve holds the training loss of every step. Losses of single batches are noisy, so a curve is compared
by the mean over a trailing window, the same one for every optimizer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Curve = Sequence[float]
Floats = NDArray[np.float64]

TOLERANCE = 0.1
"""Share of the best's improvement that a learning rate may lose and still count as within tolerance."""
TARGET_SHARE = 0.9
"""The default target: the loss at which the best has made this share of its improvement."""
RATIO_MAX = 4.0
"""AlgoPerf's upper end of a performance profile: slower than four times the fastest counts as a miss."""
LEVEL = 0.05
"""Significance level: the chance of calling a difference significant among equals, for the whole table."""
ENOUGH_SEEDS = 5
"""With two seeds a difference must be a dozen times its spread to be significant; with five, about twice."""
ROUNDING = 1e-6
"""Relative difference within which two losses are equal: about the rounding of float32 sums over a batch."""


def window_of(steps: int) -> int:
    """A tenth of the run, and at least one step."""
    return max(1, steps // 10)


def smoothed(losses: Curve, window: int) -> Floats:
    """Means over the last `window` steps, over fewer at the beginning; infinite from the first step with a
    loss that is not finite."""
    values = np.asarray(losses, np.float64)
    if not len(values):
        return values
    dead = ~np.isfinite(values)
    first = int(np.argmax(dead)) if dead.any() else len(values)
    sums = np.concatenate([[0.0], np.cumsum(values[:first])])
    ends = np.arange(1, first + 1)
    starts = np.maximum(ends - window, 0)
    means = (sums[ends] - sums[starts]) / (ends - starts)
    return np.concatenate([means, np.full(len(values) - first, np.inf)])


def end_of(losses: Curve, window: int) -> float:
    """The smoothed loss at the end; infinite for a run without losses or with one that is not finite."""
    means = smoothed(losses, window)
    return float(means[-1]) if len(means) else math.inf


def crossing(losses: Curve, window: int, target: float) -> float:
    """Steps until the smoothed loss is at or below `target`; infinite if it never is, or if a loss is
    not finite."""
    if not np.isfinite(losses).all():
        return math.inf
    below = np.flatnonzero(smoothed(losses, window) <= target)
    return float(below[0] + 1) if len(below) else math.inf


def median(values: Sequence[float]) -> float:
    """The median of values that may be infinite: infinite where half of them are, never NaN."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2 or math.isinf(ordered[middle]):
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def ties(first: Mapping[int, float], others: Sequence[Mapping[int, float]]) -> list[bool]:
    """Whether each of the others has no significant difference from the first, by the score of each seed.

    Seven equal optimizers are six chances to find a difference, so the p-values are corrected by Holm's
    method (1979): without the correction, three in ten tables of equals showed a difference.
    """
    chances = [chance_of_equals(first, other) for other in others]
    found = [True] * len(others)
    for left, place in zip(range(len(others), 0, -1), np.argsort(chances), strict=True):
        if chances[place] * left > LEVEL:
            break
        found[place] = False
    return found


def chance_of_equals(first: Mapping[int, float], second: Mapping[int, float]) -> float:
    """The p-value of the difference, paired by seed; 1 where there are too few seeds.

    Losses above zero are compared by their ratios: near zero they differ by orders of magnitude, and a mean
    of differences would depend on the worst seed only. For losses that are close together it is the same.

    The larger of two p-values: of the paired t test, and of the bootstrap of the mean difference (every
    resample of up to six seeds, 10,000 beyond). With three seeds the bootstrap alone would find a
    difference in one of four equal pairs. 0 if the second is infinite at every seed and the first at none.
    """
    seeds = sorted(first.keys() & second.keys())
    if len(seeds) < 2:
        return 1.0
    one, two = (np.array([by_seed[s] for s in seeds]) for by_seed in (first, second))
    if not np.isfinite(one).all() or not np.isfinite(two).all():
        return 0.0 if np.isfinite(one).all() and not np.isfinite(two).any() else 1.0
    if np.max(np.abs(two - one)) <= ROUNDING * float(np.abs([one, two]).max()):
        return 1.0
    differences = np.log(two) - np.log(one) if min(one.min(), two.min()) > 0 else two - one
    mean, spread = abs(float(differences.mean())), float(differences.std(ddof=1))
    resampled = _resampled_means(differences)
    bootstrap = 2.0 * min(float(np.mean(resampled <= 0)), float(np.mean(resampled >= 0)))
    if spread == 0.0:
        return bootstrap
    t = 2.0 * float(stdtr(len(seeds) - 1, -mean * math.sqrt(len(seeds)) / spread))
    return max(t, bootstrap)


def _resampled_means(values: Floats) -> Floats:
    means: Floats = values[_resamples(len(values))].mean(axis=1)
    return means


@cache
def _resamples(count: int) -> NDArray[np.int64]:
    if count <= 6:
        return np.array(list(itertools.product(range(count), repeat=count)))
    return np.random.default_rng(0).integers(0, count, (10_000, count))


def tolerant_decades(ends: Mapping[float, float], best: float, start: float) -> tuple[float, bool]:
    """Decades of learning rate around the best whose final loss is within `TOLERANCE` of its improvement, and
    whether there may be more: whether the grid ended before the boundary.

    Between two rates of the grid the boundary is interpolated linearly in the loss over the log of the rate.
    """
    rates = sorted(ends)
    limit = ends[best] + TOLERANCE * max(start - ends[best], 0.0)
    place = rates.index(best)
    reach, is_open = 0.0, False
    for way in (range(place + 1, len(rates)), range(place - 1, -1, -1)):
        before = best
        for index in way:
            rate = rates[index]
            step = abs(math.log10(rate / before))
            if ends[rate] > limit:
                rise = ends[rate] - ends[before]
                reach += step * (limit - ends[before]) / rise if math.isfinite(rise) and rise > 0 else 0.0
                break
            reach += step
            before = rate
        else:
            is_open = True
    return reach, is_open


def lost_at(ends: Mapping[float, float], best: float, start: float, factor: float) -> float | None:
    """Share of the best's improvement that is lost at `factor` times its rate: linear in the log of the rate
    between two that were tried. `None` beyond them, and between one that diverged and one that learned.
    """
    improvement = start - ends[best]
    end = _end_at(best * factor, ends, start)
    return None if end is None or improvement <= 0 else (end - ends[best]) / improvement


def _end_at(wanted: float, ends: Mapping[float, float], start: float) -> float | None:
    rate = rate_near(wanted, ends)
    if rate is not None:
        return ends[rate]
    low = max((rate for rate in ends if rate < wanted), default=None)
    high = min((rate for rate in ends if rate > wanted), default=None)
    if low is None or high is None:
        return None
    if math.inf in (ends[low], ends[high]):
        return math.inf if min(ends[low], ends[high]) >= start else None
    share = math.log(wanted / low) / math.log(high / low)
    return ends[low] + share * (ends[high] - ends[low])


def rate_near(wanted: float, rates: Iterable[float]) -> float | None:
    """The rate that equals `wanted` up to rounding to two digits, or `None`."""
    return next((rate for rate in rates if math.isclose(rate, wanted, rel_tol=0.05)), None)


def profile_scores(times: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """AlgoPerf's score of each optimizer: its performance profile over the seeds, integrated from 1 to 4.

    `times` is the time to the target by name and seed; a miss is infinite. Dolan and Moré 2002; AlgoPerf
    (Dahl et al. 2023), with seeds of one problem in the place of workloads.
    """
    seeds = sorted({seed for by_seed in times.values() for seed in by_seed})
    fastest = {seed: min(by.get(seed, math.inf) for by in times.values()) for seed in seeds}
    scores = {}
    for name, by_seed in times.items():
        areas = []
        for seed in seeds:
            time = by_seed.get(seed, math.inf)
            ratio = time / fastest[seed] if math.isfinite(time) and fastest[seed] > 0 else math.inf
            areas.append(max(0.0, RATIO_MAX - ratio) / (RATIO_MAX - 1.0))
        scores[name] = float(np.mean(areas)) if areas else 0.0
    return scores

"""What loss curves say: where they end, when they cross a target, which of them differ. NumPy only.

A curve holds the training loss of every step. Losses of single batches are noisy, so a curve is compared
by the mean over a trailing window, the same one for every optimizer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Curve = Sequence[float]
Floats = NDArray[np.float64]

TOLERANCE = 0.1
"""Share of the best's improvement that a learning rate may lose and still count as within tolerance."""
TARGET_SHARE = 0.9
"""The default target: where the best has made this share of its improvement."""
RATIO_MAX = 4.0
"""AlgoPerf's upper end of a performance profile: slower than four times the fastest counts as a miss."""
LEVEL = 0.05
_T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Two-sided 95 % quantiles of Student's t by the number of pairs; beyond them the normal one is near."""


def window_of(steps: int) -> int:
    """A tenth of the run, and at least one step."""
    return max(1, steps // 10)


def smoothed(losses: Curve, window: int) -> Floats:
    """Means over the last `window` steps; over fewer at the beginning. Not finite from where the run died."""
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
    """The smoothed loss at the end; infinite for a run that died or never began."""
    means = smoothed(losses, window)
    return float(means[-1]) if len(means) else math.inf


def crossing(losses: Curve, window: int, target: float) -> float:
    """Steps until the smoothed loss is at or below `target`; infinite for a miss."""
    below = np.flatnonzero(smoothed(losses, window) <= target)
    return float(below[0] + 1) if len(below) else math.inf


def median(values: Sequence[float]) -> float:
    """With infinities among them: infinite where half of them are, never a NaN."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2 or math.isinf(ordered[middle]):
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def tied(first: Mapping[int, float], second: Mapping[int, float]) -> bool:
    """Whether seeds cannot tell two optimizers apart by their final losses, paired by seed.

    Two tests have to agree that they differ: the bootstrap of the mean difference over the seeds (every
    resample of up to six seeds, 10,000 beyond) and the paired t interval, both at 95 %. With three seeds the
    bootstrap alone would name a winner in one of four equal pairs.
    """
    seeds = sorted(first.keys() & second.keys())
    differences = np.array([second[s] - first[s] for s in seeds])
    if len(seeds) < 2 or not np.isfinite(differences).all():
        return not (len(seeds) > 0 and bool(np.isinf(differences).all()))
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    half = _T_975.get(len(seeds), 2.1) * spread / math.sqrt(len(seeds))
    low, high = np.quantile(_resampled_means(differences), [LEVEL / 2, 1 - LEVEL / 2])
    return bool(abs(mean) <= half or low <= 0 <= high)


def _resampled_means(values: Floats) -> Floats:
    count = len(values)
    if count <= 6:
        picks = np.array(list(itertools.product(range(count), repeat=count)))
    else:
        picks = np.random.default_rng(0).integers(0, count, (10_000, count))
    means: Floats = values[picks].mean(axis=1)
    return means


def tolerant_decades(ends: Mapping[float, float], best: float, start: float) -> float:
    """Decades of learning rate around the best whose end stays within `TOLERANCE` of its improvement.

    Between two rates of the grid the boundary is placed by interpolation of the loss over log rate.
    """
    rates = sorted(ends)
    limit = ends[best] + TOLERANCE * max(start - ends[best], 0.0)
    place = rates.index(best)
    reach = 0.0
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
    return reach


def lost_at(ends: Mapping[float, float], best: float, start: float, factor: float) -> float | None:
    """Share of the best's improvement that is lost at `factor` times its rate; `None` if not measured."""
    rate = next((r for r in ends if math.isclose(r, best * factor, rel_tol=0.05)), None)
    improvement = start - ends[best]
    if rate is None or improvement <= 0:
        return None
    return (ends[rate] - ends[best]) / improvement


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

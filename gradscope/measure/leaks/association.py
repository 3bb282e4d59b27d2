"""Whether anything in the input goes with a target, as it does in a table that was made to predict from."""

from __future__ import annotations

import numpy as np

from gradscope.measure.leaks.placing import NdArray

SHUFFLES = 99
MOST_CLASSES = 32
MOST_ELEMENTS = 2**22


def association(features: NdArray, target: NdArray) -> tuple[float, float]:
    """The largest absolute rank correlation of a column of `features` f[rows, columns] with `target` f[rows],
    and the largest with shuffled targets. NaN where nothing varies.

    Columns also count as distances from their middle, so that a curve around it is seen; labels with few
    numbers count class by class. Source: Spearman 1904; a permutation test (Fisher 1935).
    """
    features = features[:, : max(1, MOST_ELEMENTS // max(1, len(features)))]
    ranks = _ranks(features)
    from_middle = _ranks(np.abs(ranks - ranks.mean(0, keepdims=True))) if ranks.size else ranks
    wide = _standard(np.concatenate([ranks, from_middle], axis=1))
    values, classes = np.unique(target, return_inverse=True)
    few = 2 < len(values) <= MOST_CLASSES
    told = _standard(np.eye(len(values))[classes] if few else _ranks(target[:, None]))
    if not wide.shape[1] or not told.shape[1]:
        return np.nan, np.nan
    random = np.random.default_rng(0)
    shuffled = [_largest(wide, told[random.permutation(len(told))]) for _ in range(SHUFFLES)]
    return _largest(wide, told), max(shuffled)


def _largest(wide: NdArray, told: NdArray) -> float:
    return min(1.0, float(np.abs(wide.T @ told).max()) / len(told))


def _ranks(columns: NdArray) -> NdArray:
    """Equal numbers share the mean of their ranks."""
    out = np.empty(columns.shape)
    for i, column in enumerate(columns.T):
        _, where, counts = np.unique(column, return_inverse=True, return_counts=True)
        out[:, i] = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return out


def _standard(columns: NdArray) -> NdArray:
    """Mean 0 and deviation 1; without those that do not vary."""
    apart = columns - columns.mean(0, keepdims=True)
    deviation = apart.std(0)
    varies = deviation > 0
    return np.asarray(apart[:, varies] / deviation[varies])

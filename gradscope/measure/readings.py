"""Statistics as they are read back from the device, whatever the gain they were taken at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.trace.statistics import MAX, RMS, Floats, Statistic


@dataclass(frozen=True)
class Reading:
    """Statistics of one value at every step of the loops around it: one entry for each of them."""

    counts: Floats
    """f64[entries...]: elements of the value; 0 at steps where its branch was not taken."""
    _found: Mapping[str, Floats]

    @staticmethod
    def of(statistics: Iterable[Statistic], found: Mapping[str, Any], gain: Any, counts: Any) -> Reading:
        """From what `trace.statistics.reduced` gave at `gain`, for `counts` elements in each entry."""
        gain = np.asarray(gain, np.float64)
        counts = np.broadcast_to(np.asarray(counts, np.float64), gain.shape)
        entries = {}
        for statistic in statistics:
            raw = np.asarray(found[statistic.name], np.float64)
            own = tuple(range(gain.ndim, raw.ndim))
            entry = statistic.entry(raw, np.expand_dims(gain, own))
            entries[statistic.name] = np.where(np.expand_dims(counts, own) > 0, entry, statistic.zero)
        if RMS.name in entries and MAX.name in entries:
            # Devices that compare their largest values may pass over a NaN; a sum of squares never does.
            lost = np.isnan(entries[RMS.name])
            entries[MAX.name] = np.where(lost, np.nan, entries[MAX.name])
        return Reading(counts, entries)

    def __getitem__(self, statistic: Statistic) -> Floats:
        """f64[entries..., own...]"""
        return self._found[statistic.name]

    def at(self, where: Any) -> Reading:
        """The statistics of some of the entries: an index, or a mask."""
        found = {name: np.asarray(entries[where]) for name, entries in self._found.items()}
        return Reading(np.asarray(self.counts[where]), found)

    def total(self, statistic: Statistic) -> Floats:
        """f64[own...]: the statistic of all entries together."""
        return statistic.combine(self[statistic], tuple(range(self.counts.ndim)))

    def along(self, axes: Sequence[int]) -> Floats:
        """The norm at each position of `axes`, over all others."""
        roots = self[RMS]
        return RMS.combine(roots, tuple(axis for axis in range(roots.ndim) if axis not in axes))

    @property
    def norm(self) -> float:
        return float(self.total(RMS))

    @property
    def count(self) -> int:
        return round(float(self.counts.sum()))


def pooled(statistic: Statistic, parts: Sequence[Reading]) -> Any:
    """The statistic of all parts together, as a record gives it.

    `None` where they keep different numbers of units apart, as the uses of a shared weight may.
    """
    totals = [part.total(statistic) for part in parts]
    if len({total.shape for total in totals}) > 1:
        return None
    total = statistic.combine(np.stack(totals), (0,)) if totals else np.float64(statistic.zero)
    return statistic.read(np.asarray(total), sum(part.count for part in parts) / max(np.size(total), 1))


def range_gain(found: Any, dtype: Any) -> Floats:
    """Powers of two that bring the largest value near 1, where its square would leave the range of dtype.

    Squares are safe while the largest value lies within 1e±15 for float32 (range 1e±38) and within
    1e±140 for float64: a sum of 1e8 squares stays finite, and values 1000 times smaller still count.
    """
    found = np.asarray(found, np.float64)
    limit = 1e140 if np.dtype(dtype) == np.float64 else 1e15
    usable = np.isfinite(found) & (found > 0)
    outside = usable & ((found > limit) | (found < 1 / limit))
    exponent = np.round(np.log2(np.where(usable, found, 1.0)))
    top = 1000 if np.dtype(dtype) == np.float64 else 120
    return np.where(outside, np.exp2(-np.clip(exponent, -top, top)), 1.0)

"""Finds what repeats in a sequence of equations: runs of equal periods, at any length of the period.

`cut` looks for the run of neighbouring equal stretches (a tandem repeat) that saves most equations, cuts
there, and goes on in what is left of it and right of it, and inside a long period. Candidates for the period
are the distances at which the same few equations come again, so that the time grows linearly with the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

Keys = np.ndarray[Any, np.dtype[np.int64]]

CONTEXTS = (1, 8)
"""How many neighbouring equations are looked for again: one comes again by chance, eight seldom."""

CANDIDATES = 6
"""Periods that are tried for each context, the most frequent distances first."""


BLOCK_COST = 8
"""Equations whose compiling costs as much as one more block does."""


@dataclass(frozen=True)
class Sizes:
    """Equations of a block."""

    shortest: int = 24
    """Shorter periods are taken together: below it a block costs more to start than to compile."""
    longest: int = 160
    """Of a block that repeats nothing: a longer one is cut where the fewest bytes cross."""
    least_saved: int = 8
    """Equations that are not compiled again, for a repeat to be worth a cut."""


USUAL = Sizes()


@dataclass(frozen=True)
class Tandem:
    """`count` equal stretches of `period` equations, the first of which begins at `start`."""

    start: int
    period: int
    count: int
    slack: int
    """The start may lie so many equations later."""

    @property
    def saved(self) -> int:
        return (self.count - 1) * self.period


Stretches = list[tuple[int, int]]


def cut(
    keys: Sequence[int], crossing: Sequence[int], sizes: Sizes = USUAL, kinds: Sequence[int] | None = None
) -> Stretches:
    """Stretches `[low, high)` that cover the keys in order, such that few of them differ.

    `crossing[i]` is the number of bytes that live on from before equation `i`: what passing them costs if the
    program is cut there. It has one more entry than `keys`. Equations of equal key have equal `kinds`; layers
    that are equal but for a few equations (each takes its own row of the keys for dropout) repeat in those,
    and the few become stretches of their own.
    """
    found = _stretches(keys, crossing, sizes)
    if kinds is None:
        return found
    apart = _apart(_stretches(kinds, crossing, sizes), np.asarray(keys, np.int64), kinds)
    return min(found, apart, key=lambda stretches: _cost(stretches, keys))


def _stretches(keys: Sequence[int], crossing: Sequence[int], sizes: Sizes) -> Stretches:
    cutting = _Cutting(np.asarray(keys, np.int64), np.asarray(crossing, np.int64), sizes)
    return cutting.stretches(0, len(keys))


def _cost(stretches: Stretches, keys: Sequence[int]) -> int:
    """Of compiling the distinct ones, in equations."""
    distinct = {tuple(keys[low:high]) for low, high in stretches}
    return sum(len(each) + BLOCK_COST for each in distinct) + len(stretches)


def _apart(stretches: Stretches, keys: Keys, kinds: Sequence[int]) -> Stretches:
    """Stretches of equal kinds, cut where their keys differ."""
    alike: dict[tuple[int, ...], Stretches] = {}
    for low, high in stretches:
        alike.setdefault(tuple(kinds[low:high]), []).append((low, high))
    found: Stretches = []
    for same in alike.values():
        rows = np.stack([keys[low:high] for low, high in same])
        edges = _edges((rows != rows[0]).any(axis=0))
        found += [(low + first, low + last) for low, _ in same for first, last in pairwise(edges)]
    return sorted(found)


def _edges(differs: np.ndarray[Any, np.dtype[np.bool_]]) -> list[int]:
    """Where equal keys begin and end; a few of them between two that differ go with these."""
    marks = differs.copy()
    places = np.flatnonzero(differs)
    for before, after in pairwise(places):
        if after - before <= BLOCK_COST:
            marks[before:after] = True
    return [0, *(np.flatnonzero(np.diff(marks)) + 1), len(marks)]


@dataclass(frozen=True)
class _Cutting:
    keys: Keys
    crossing: Keys
    sizes: Sizes
    known: set[bytes] = field(default_factory=set)
    """The contents of stretches that repeat."""

    def stretches(self, low: int, high: int) -> list[tuple[int, int]]:
        if low >= high:
            return []
        found = _best(self.keys[low:high], self.sizes.least_saved)
        if found is None:
            return self._pieces(low, high)
        length = found.period * max(1, -(-self.sizes.shortest // found.period))
        repeats = found.period * found.count // length
        if repeats < 2:
            return self._pieces(low, high)
        start = self._start(low + found.start, found.slack, length)
        inside = [(start, start + length)]
        if length == found.period and length > 2 * self.sizes.shortest:
            inside = self.stretches(start, start + length)
        copies = [
            (first + shift * length, last + shift * length)
            for shift in range(repeats)
            for first, last in inside
        ]
        return [*self.stretches(low, start), *copies, *self.stretches(start + repeats * length, high)]

    def _start(self, first: int, slack: int, length: int) -> int:
        """Where stretches begin that another run has too, else where the fewest bytes cross."""
        places = range(first, first + slack + 1)
        contents = {place: self.keys[place : place + length].tobytes() for place in places}
        start = next(
            (place for place in places if contents[place] in self.known),
            first + int(np.argmin(self.crossing[first : first + slack + 1])),
        )
        self.known.add(contents[start])
        return start

    def _pieces(self, low: int, high: int) -> list[tuple[int, int]]:
        """A stretch that repeats nothing, cut where the fewest bytes cross."""
        longest = self.sizes.longest
        if high - low <= longest:
            return [(low, high)]
        window = slice(low + longest // 2, low + longest + 1)
        at = window.start + int(np.argmin(self.crossing[window]))
        return [(low, at), *self._pieces(at, high)]


def largest(keys: Sequence[int], crossing: Sequence[int]) -> Tandem | None:
    """The repeat that covers most, beginning where the fewest bytes cross (as in `cut`)."""
    found = _best(np.asarray(keys, np.int64), USUAL.least_saved)
    if found is None:
        return None
    window = np.asarray(crossing[found.start : found.start + found.slack + 1], np.int64)
    return replace(found, start=found.start + int(np.argmin(window)), slack=0)


def _best(keys: Keys, least_saved: int) -> Tandem | None:
    """The tandem repeat that saves most; of equals that with the shortest period."""
    found = [
        tandem for period in sorted(_periods(keys)) if (tandem := _longest_run(keys, period)) is not None
    ]
    best = max(found, key=lambda tandem: tandem.saved, default=None)
    return best if best is not None and best.saved >= least_saved else None


def _periods(keys: Keys) -> set[int]:
    """Distances at which the same keys come again, the most frequent ones."""
    periods: set[int] = set()
    for context in CONTEXTS:
        if len(keys) > context:
            distances = _distances(_hashed(keys, context))
            counts = np.bincount(distances) if distances.size else np.zeros(1, np.int64)
            weight = counts * np.arange(len(counts))
            periods |= {int(period) for period in np.argsort(weight)[-CANDIDATES:] if weight[period]}
    return periods


def _hashed(keys: Keys, context: int) -> Keys:
    """A number for every `context` neighbouring keys."""
    windows = np.lib.stride_tricks.sliding_window_view(keys, context)
    numbers: Keys = np.unique(windows, axis=0, return_inverse=True)[1].reshape(-1)
    return numbers


def _distances(numbers: Keys) -> Keys:
    """From each place to the next one with the same number."""
    order = np.argsort(numbers, kind="stable")
    same = numbers[order][1:] == numbers[order][:-1]
    distances: Keys = np.diff(order)[same]
    return distances


def _longest_run(keys: Keys, period: int) -> Tandem | None:
    """The longest stretch in which every key comes again `period` places later."""
    if period * 2 > len(keys):
        return None
    same = np.concatenate(([0], (keys[:-period] == keys[period:]).astype(np.int8), [0]))
    edges = np.flatnonzero(np.diff(same))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not lengths.size or lengths.max() < period:
        return None
    longest = int(np.argmax(lengths))
    count, slack = divmod(int(lengths[longest]), period)
    return Tandem(int(starts[longest]), period, count + 1, slack)

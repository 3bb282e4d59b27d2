"""Tracks: from which place along an axis of its leaf each part of a value comes.

A track is an array of integers with one axis for each loop around the value and one for each axis of the
value, of length one where the place does not change along it. The leaf `w[24, d, d]` begins with the places
0 to 23 along its axis 0; a scan over it turns that axis into the axis of the loop, `w[3:5]` leaves 3 and 4.
Whatever a stack goes through on its way (a transpose, a cut into groups, an index that is counted), where
the layer that meets the data stood in the leaf is read from the track.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Track = NDArray[np.intp]
Key = tuple[int, int]
"""A leaf and an axis of it."""
Tracks = Mapping[Key, Track]
Same = Callable[[Key, Key], None]
"""Told of two axes whose places go along the same axis of one value."""

NUMBERS: Key = (-1, 0)
"""Not a place but the value itself, where it is a whole number known before the program runs."""
PRESENT = -1
"""In place of an axis: 0 where the value comes from this leaf, below 0 where it comes from another."""
SPLIT = -2
"""In place of a leaf: the elements of one axis of data, after a reshape that split it into several."""
NOTHING: Tracks = MappingProxyType({})

LONGEST = 2**14
"""Elements of a track; a longer axis is none that counts layers."""


def of_leaf(leaf: int, shape: tuple[int, ...]) -> Tracks:
    found = {(leaf, PRESENT): np.zeros((1,) * len(shape), np.intp)}
    for axis, size in enumerate(shape):
        if 1 < size <= LONGEST:
            along = [size if other == axis else 1 for other in range(len(shape))]
            found[leaf, axis] = np.arange(size).reshape(along)
    return found


def of_number(value: int, lead: int) -> Tracks:
    return {NUMBERS: np.full((1,) * lead, value, np.intp)}


def of_constant(value: Any, lead: int) -> Tracks:
    """Whole numbers that the program closes over: `w[order]`."""
    local = isinstance(value, np.ndarray) or getattr(value, "is_fully_addressable", False)
    # The dtype of a PRNG key has no kind.
    if not local or getattr(value.dtype, "kind", "?") not in "iub" or not 0 < value.size <= LONGEST:
        return NOTHING
    return {NUMBERS: np.asarray(value).astype(np.intp).reshape((*(1,) * lead, *value.shape))}


def alike_placed(a: Tracks, b: Tracks) -> bool:
    """Places in different leaves that are the same ones."""
    left, right = ({(axis, t.shape, t.tobytes()) for (_, axis), t in each.items()} for each in (a, b))
    return left == right


def varies(track: Track, lead: int) -> bool:
    """Over the elements of the value, and not only from step to step of the loops around it."""
    return any(size > 1 for size in track.shape[lead:])


def taken(tracks: Tracks, lead: int) -> dict[Key, Track]:
    """By step of the loops: the one place from which all of the value comes."""
    return {
        key: track.reshape(track.shape[:lead])
        for key, track in tracks.items()
        if key != NUMBERS and not varies(track, lead)
    }


def common(many: Sequence[Tracks]) -> Tracks:
    """What all of them say."""
    first, *others = many
    if all(each is first for each in others):
        return first
    return {k: t for k, t in first.items() if all(k in o and np.array_equal(o[k], t) for o in others)}


def merged(parts: Sequence[Tracks], lead: int, same: Same) -> Tracks:
    """Of a value that is made element by element from several; places that contradict each other go."""
    told = [part for part in parts if part]
    if len(told) < 2:
        return told[0] if told else NOTHING
    found: dict[Key, Track] = {}
    wrong: set[Key] = set()
    alike: dict[tuple[tuple[int, ...], bytes], Key] = {}
    for key, track in itertools.chain.from_iterable(part.items() for part in told):
        if key in found and not np.array_equal(found[key], track):
            wrong.add(key)
        found[key] = track
        if varies(track, lead) and key[1] != PRESENT and key[0] != SPLIT:
            same(alike.setdefault((track.shape, track.tobytes()), key), key)
    return {key: track for key, track in found.items() if key not in wrong}


def moved(tracks: Tracks, lead: int, to: Sequence[int | None], rank: int) -> Tracks:
    """Each axis goes where `to` says; a place that changes along an axis that goes nowhere is lost."""
    found = {}
    for key, track in tracks.items():
        shape = [1] * rank
        if any(size > 1 and place is None for size, place in zip(track.shape[lead:], to, strict=True)):
            continue
        order = sorted((p, axis) for axis, p in enumerate(to) if p is not None)
        gone = [axis for axis, place in enumerate(to) if place is None]
        flat = np.squeeze(track, tuple(lead + axis for axis in gone))
        left = [axis for axis, place in enumerate(to) if place is not None]
        turned = flat.transpose(*range(lead), *(lead + left.index(axis) for _, axis in order))
        for place, axis in order:
            shape[place] = track.shape[lead + axis]
        found[key] = turned.reshape((*track.shape[:lead], *shape))
    return found


def reshaped(tracks: Tracks, lead: int, before: Sequence[int], after: Sequence[int]) -> Tracks:
    if 0 in before:
        return NOTHING
    found = {key: _reshaped(track, lead, before, after) for key, track in tracks.items()}
    return {key: track for key, track in found.items() if track is not None}


def _reshaped(track: Track, lead: int, before: Sequence[int], after: Sequence[int]) -> Track | None:
    full, result, changing = list(track.shape[:lead]), list(track.shape[:lead]), []
    for old, new in _groups(before, after):
        busy = any(track.shape[lead + axis] > 1 for axis in old)
        full += [before[axis] if busy else 1 for axis in old]
        changing += [len(result) + i for i in range(len(new)) if busy]
        result += [after[axis] if busy else 1 for axis in new]
    if np.prod(full, dtype=np.int64) > LONGEST:
        return None
    made = np.broadcast_to(track, full).reshape(result)
    for axis in changing:
        one = made.take([0], axis)
        made = one if (made == one).all() else made
    return made


def _groups(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """The smallest runs of neighbouring axes that a reshape turns into each other."""
    i = j = 0
    while i < len(before) or j < len(after):
        old = [i] if i < len(before) else []
        new = [j] if j < len(after) else []
        left, right = [before[axis] for axis in old], [after[axis] for axis in new]
        i, j = i + len(old), j + len(new)
        while np.prod(left, dtype=np.int64) != np.prod(right, dtype=np.int64):
            if np.prod(left, dtype=np.int64) < np.prod(right, dtype=np.int64):
                old, left, i = [*old, i], [*left, before[i]], i + 1
            else:
                new, right, j = [*new, j], [*right, after[j]], j + 1
        yield old, new


def split(lead: int, before: Sequence[int], after: Sequence[int]) -> Tracks:
    """Of each axis that a reshape splits, which element of it stands where."""
    found = {}
    for old, new in [] if 0 in before else _groups(before, after):
        pieces = [axis for axis in new if after[axis] > 1]
        if len(old) == 1 and len(pieces) > 1 and before[old[0]] <= LONGEST:
            shape = [after[axis] if axis in pieces else 1 for axis in range(len(after))]
            found[SPLIT, old[0]] = np.arange(before[old[0]]).reshape((*(1,) * lead, *shape))
    return found


def picked(track: Track, axis: int, places: NDArray[np.intp]) -> Track:
    """The elements at `places`, along an axis counted from the first of all."""
    return track if track.shape[axis] == 1 else track.take(places, axis)


def joined(parts: Sequence[Tracks], lead: int, axis: int, sizes: Sequence[int]) -> Tracks:
    """Several values one after the other along `axis`; below 0 where a part is of another leaf."""
    found = {}
    leaves = [{leaf for leaf, _ in part} for part in parts]
    total = sum(sizes)
    for key in dict.fromkeys(itertools.chain.from_iterable(parts)):
        holders = [i for i, mine in enumerate(leaves) if key[0] in mine]
        rank = len(parts[holders[0]][key].shape) if key in parts[holders[0]] else 0
        if any(key not in parts[i] for i in holders) or (key == NUMBERS and len(holders) < len(parts)):
            continue
        shape = np.broadcast_shapes(*(_without(parts[i][key].shape, lead + axis) for i in holders))
        if np.prod(shape, dtype=np.int64) * total > LONGEST:
            continue
        pieces = []
        for i, size in enumerate(sizes):
            full = (*shape[: lead + axis], size, *shape[lead + axis + 1 :])
            piece = parts[i][key] if i in holders else np.full((1,) * rank, -1, np.intp)
            pieces.append(np.broadcast_to(piece, full))
        found[key] = np.concatenate(pieces, lead + axis)
    return found


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], 1, *shape[axis + 1 :])


def into_loop(tracks: Tracks, position: int) -> Tracks:
    """Of a value that a loop keeps: the same at every step."""
    return {key: np.expand_dims(track, position) for key, track in tracks.items()}


def counted(start: Track, second: Track, length: int, *, reverse: bool) -> Track:
    """What a loop counts: a scalar at the first step and at the second, the loop being the last axis."""
    steps = np.arange(length)[::-1] if reverse else np.arange(length)
    return start + (second - start) * steps


def follows(now: Track, later: Track, *, reverse: bool) -> bool:
    """Of a scalar by step, the last axis: what a step hands on is what the next one has."""
    shape = np.broadcast_shapes(now.shape, later.shape)
    now, later = np.broadcast_to(now, shape), np.broadcast_to(later, shape)
    if reverse:
        now, later = now[..., ::-1], later[..., ::-1]
    return bool((later[..., :-1] == now[..., 1:]).all())


class Classes:
    """Axes of leaves that go along the same axes of values, and which of them count things side by side."""

    def __init__(self) -> None:
        self._parent: dict[Key, Key] = {}
        self._counted: set[Key] = set()
        self._met: set[Key] = set()
        self._one: set[Key] = set()

    def find(self, key: Key) -> Key:
        while self._parent.get(key, key) != key:
            key = self._parent[key]
        return key

    def same(self, a: Key, b: Key) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self._met |= {a, b}
            self._parent[b] = a
            for marked in (self._counted, self._one):
                if b in marked:
                    marked.add(a)

    def count(self, key: Key) -> None:
        """Along this axis of its leaf stand matrices that each meet data of their own."""
        self._counted.add(self.find(key))

    def make_one(self, key: Key) -> None:
        """The matrices along this axis are the blocks of one that is block-diagonal."""
        self._one.add(self.find(key))

    def counts(self, key: Key) -> bool:
        root = self.find(key)
        return root in self._counted and root not in self._one

    def met(self, key: Key) -> bool:
        """Another leaf's axis goes along with it."""
        return self.find(key) in self._met

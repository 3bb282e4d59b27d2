"""Which axes of the leaves count layers: those that a loop, an index or a product takes one by one.

A scan over an axis, or an index that is known, takes one place of it at a time. A product in which each of
many matrices meets data of its own (`vmap` over an ensemble, experts in one `einsum`) has its layers side by
side. The first layer of an ensemble often reads the same data for all members, and its biases and scales
are no products: they count members where their axis meets one that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.follow import follow
from gradscope.trace.jaxprs import SideBySide
from gradscope.trace.sites import Kind, Site, Value, members_of
from gradscope.trace.tracks import (
    LONGEST,
    NUMBERS,
    PRESENT,
    SPLIT,
    Classes,
    Key,
    Track,
    Tracks,
    of_leaf,
    split,
    varies,
)

MOST = 256
"""Layers side by side; more of them are channels, or samples of a simulation, and one row for all."""


class Stacks:
    """The tracks of one abstract run, and what was learned of the axes of its leaves."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self._shapes = shapes
        self._classes = Classes()

    def tracks_of(self, leaf: int) -> Tracks:
        return of_leaf(leaf, self._shapes[leaf])

    def follow(self, eqn: JaxprEqn, ins: Sequence[Value], lead: int) -> list[Tracks]:
        for operand, value in enumerate(ins):
            if value.is_weight() and any(v.kind is Kind.DATA for v in ins):
                for found in jaxprs.side_by_side(eqn, operand):
                    blocks = _is_split(eqn, found, ins[found.other[0]], lead)
                    self._count(found, value, ins[found.other[0]], lead, blocks=blocks)
        tracks = follow(eqn, [v.tracks for v in ins], lead, self._classes.same)
        if eqn.primitive.name == "reshape" and ins[0].kind is Kind.DATA:
            avals: list[Any] = [eqn.invars[0].aval, eqn.outvars[0].aval]
            return [{**tracks[0], **split(lead, *(aval.shape for aval in avals))}]
        return tracks

    def _count(self, found: SideBySide, weight: Value, data: Value, lead: int, *, blocks: bool) -> None:
        for key in self._leading(weight, lead):
            mine = _each(weight.tracks[key], lead + found.axis, found.count)
            if mine is None:
                continue
            self._classes.count(key)
            if blocks:
                self._classes.make_one(key)
            for other, track in data.tracks.items():
                theirs = _each(track, lead + found.other[1], found.count)
                if other[0] >= 0 and theirs is not None and np.array_equal(mine, theirs):
                    self._classes.same(key, other)

    def _leading(self, weight: Value, lead: int) -> list[Key]:
        """Of each leaf the first axis that is not taken yet: members of an ensemble stand along it."""
        found = []
        for leaf in members_of(weight.leaves):
            for axis, size in enumerate(self._shapes[leaf]):
                track = weight.tracks.get((leaf, axis))
                if size > 1 and (track is None or varies(track, lead)):
                    if track is not None and len(self._shapes[leaf]) > axis + 1:
                        found.append((leaf, axis))
                    break
        return found

    def lost(self, value: Value) -> bool:
        """A weight of which it is not known from where in its leaves it comes."""
        known = all(
            (leaf, axis) in value.tracks
            for leaf in members_of(value.leaves)
            for axis, size in enumerate(self._shapes[leaf])
            if 1 < size <= LONGEST
        )
        return value.is_weight() and not known

    def narrowed(self, value: Value, lead: int) -> Value:
        """A weight less the axes of its leaves of which it is one place."""
        shapes = [
            tuple(
                size
                for axis, size in enumerate(self._shapes[leaf])
                if size > 1 and ((leaf, axis) not in value.tracks or varies(value.tracks[leaf, axis], lead))
            )
            for leaf, axis in value.tracks
            if axis == PRESENT
        ]
        return replace(value, shape=max(shapes, key=len)) if shapes else value

    def of_data(self, value: Value, ins: Sequence[Value], lead: int) -> Value:
        """Data keeps an axis of members only, one key for each, and numbers."""
        if not value.tracks:
            return value
        wanted = {NUMBERS}
        for v in ins:
            wanted.update(self._leading(v, lead) if v.is_weight() else v.tracks)
        found: dict[Key, Track] = {}
        seen = set()
        for key, track in value.tracks.items():
            mark = track.shape, track.tobytes()
            if (
                key == NUMBERS
                or key[0] == SPLIT
                or (key in wanted and varies(track, lead) and mark not in seen)
            ):
                found[key] = track
                seen.add(mark)
        return replace(value, tracks=found)

    def along_others(self, weight: Value, lead: int) -> int:
        """Leading axes that go along with those of other leaves: of a scale, its members in an ensemble."""
        return sum(map(self._classes.met, self._leading(weight, lead)))

    def settle(self, site: Site) -> None:
        """Decide, when all is known, along which axes of a site's value its layers stand side by side."""
        lead = len(site.lead)
        places, members = dict(site.places), set()
        for leaf in members_of(site.leaves):
            for axis, size in enumerate(self._shapes[leaf]):
                track = self._beside(site, (leaf, axis)) if size <= MOST else None
                if (leaf, axis) not in places and track is not None:
                    places[leaf, axis] = track
                    members |= {i for i, n in enumerate(track.shape[lead:]) if n > 1}
        site.members = tuple(sorted(members))
        gone = tuple(lead + i for i in range(len(site.value)) if i not in members)
        ends = (1,) * len(members)
        site.places = {
            key: track.reshape((*track.shape, *ends)) if key in site.places else track.squeeze(gone)
            for key, track in places.items()
        }

    def _beside(self, site: Site, key: Key) -> Track | None:
        if not self._classes.counts(key):
            return None
        root = self._classes.find(key)
        return next((t for k, t in site.spread.items() if self._classes.find(k) == root), None)


def _is_split(eqn: JaxprEqn, found: SideBySide, data: Value, lead: int) -> bool:
    """Each matrix sums over its piece of one axis: they are the blocks of one that is block-diagonal."""
    operand, axis = found.other
    to = jaxprs.moves(eqn)
    if to is None:
        return False
    summed = [other for other, place in enumerate(to[operand]) if place is None and other != axis]
    return any(
        track.shape[lead + axis] > 1 and any(track.shape[lead + other] > 1 for other in summed)
        for key, track in data.tracks.items()
        if key[0] == SPLIT
    )


def _each(track: Track, axis: int, count: int) -> Track | None:
    """The place of each of `count` groups of equal length along this axis, where that is all a track says."""
    if track.size != track.shape[axis] or track.size % count:
        return None
    groups = track.reshape(count, -1)
    first = groups[:, 0]
    return first if (groups == first[:, None]).all() and len(np.unique(first)) == count else None

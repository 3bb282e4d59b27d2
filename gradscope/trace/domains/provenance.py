"""How what is known of a value's leaves changes on the way into a jaxpr and out of it.

A value on the other side of a loop or a branch is another value: it is no longer the site itself. A loop of
known length gives everything inside one leading axis, along which its steps may be layers (where the
weights change from step to step) or moments in time (where they do not).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace.nested.contract import Counted, Entry, Until
from gradscope.trace.placing import Placing
from gradscope.trace.sites import Axis, Kind, Plan, Site, Value, join
from gradscope.trace.stacks import Stacks
from gradscope.trace.tracks import NOTHING, NUMBERS, Tracks, common, counted, follows, into_loop
from gradscope.trace.vocabulary import PRODUCTS, is_real
from gradscope.trace.walk import Domain, Visit

Nested = Visit[Value, Plan]


class Provenance(Domain[Value, Plan]):
    """Enters what can be tapped: no custom rule, and no loop whose number of steps is not known."""

    def __init__(self, stacks: Stacks, placing: Placing) -> None:
        self.stacks = stacks
        self.placing = placing
        self.pooled: dict[tuple[int, int], JaxprEqn] = {}
        """Loops over layers that cannot be told apart."""
        self._loops: dict[tuple[int, int], int] = {}

    def join(self, values: list[Value]) -> Value:
        return join(values)

    def enters(self, visit: Nested) -> bool:
        return not visit.inside.own_rule and not isinstance(visit.inside.loop, Until)

    def below(self, visit: Nested, entry: Entry) -> Plan:
        """The plan of the jaxpr, planned afresh in each turn of a fixed point."""
        axis = None
        if visit.inside.shards is not None:
            axis = Axis(visit.inside.shards.devices, devices=True)
        elif isinstance(visit.inside.loop, Counted):
            # The same number in each turn of a loop around, so that axes of one loop compare equal.
            number = self._loops.setdefault((id(visit.place), visit.index), len(self._loops) + 1)
            axis = Axis(visit.inside.loop.length, visit.inside.loop.reverse, loop=number)
        return visit.place.enter(visit.index, entry.number, axis)

    def entering(self, visit: Nested, entry: Entry) -> list[Value]:
        values, position = super().entering(visit, entry), len(visit.place.lead)
        if visit.inside.calls:
            return values
        if visit.inside.chosen_by is not None:
            return [v.across() for v in values]
        if visit.inside.shards is not None:
            # A device sees a part of an axis that is spread over devices, and does not know which.
            return [
                v.across(tracks=_whole(into_loop(v.tracks, position), axes, position + 1))
                for v, axes in zip(values, visit.inside.shards.spread, strict=True)
            ]
        consts = [v.across(tracks=into_loop(v.tracks, position)) for v in values[: entry.carried.start]]
        carried = [_start(values[i], position) for i in entry.carried]
        return [*consts, *carried, *(self._row(values[i], position) for i in entry.rows)]

    def _row(self, v: Value, position: int) -> Value:
        """One step's part: the axis of the value becomes the axis of the loop, in its tracks as well."""
        if v.kind is Kind.WEIGHT:
            return self.stacks.narrowed(v.across(), position + 1)
        kept = {key: t for key, t in v.tracks.items() if key == NUMBERS or t.shape[position] == 1}
        return self.stacks.narrowed(v.across(tracks=kept, kind=Kind.DATA), position + 1)

    def again(self, before: Value, after: Value, visit: Nested, *, first: bool) -> Value:
        assert isinstance(visit.inside.loop, Counted)
        tracks = _carried(before.tracks, after.tracks, visit.inside.loop, guess=first)
        joined = join([before, after.across()])
        return replace(joined, local=before.local, depth=before.depth, tracks=tracks)

    def settled(self, one: Value, other: Value) -> bool:
        a, b = one, other
        alike = (a.kind, a.reads, a.grad, a.leaves, a.reduced) == (
            b.kind,
            b.reads,
            b.grad,
            b.leaves,
            b.reduced,
        )
        same_keys = a.tracks.keys() == b.tracks.keys()
        return alike and same_keys and len(common([a.tracks, b.tracks])) == len(a.tracks)

    def leaving(self, visit: Nested, carried: list[Value], outs: list[Value]) -> list[Value]:
        if visit.inside.inlined:
            return outs
        if visit.inside.calls:
            return [out.across() for out in outs]
        if visit.inside.chosen_by is not None:
            chosen = visit.values[visit.inside.chosen_by]
            return [replace(out, reads=out.reads | chosen.reads) for out in outs]
        if visit.inside.shards is not None:
            return [out.across(tracks=NOTHING) for out in outs]
        assert isinstance(visit.inside.loop, Counted)
        return self._after_loop(visit, visit.inside.loop.length, carried, outs)

    def _after_loop(self, visit: Nested, length: int, carried: list[Value], outs: list[Value]) -> list[Value]:
        (entry,) = visit.inside.entries
        position, count = len(visit.place.lead), len(carried)
        inner = visit.place.inner[visit.index, entry.number]
        after, before = (max((v.depth for v in each), default=0) for each in (outs[:count], carried))
        growth = max(after - before, 0)
        stacked = [site for site in inner.sites() if _changes(site, position)]
        recurrent = any(site.op in PRODUCTS and not _changes(site, position) for site in inner.sites())
        over_layers = bool(stacked) and not recurrent
        for site in stacked if over_layers else ():
            site.strides[position] = growth
        self.pooled.pop((id(visit.place), visit.index), None)
        if length > 1 and not over_layers:
            self._note_loop(visit, inner, carried, stacked=bool(stacked))
        deeper = growth * (length - 1) if over_layers else 0
        last = [v.across(depth=v.depth + deeper, tracks=_last(v, position)) for v in outs[:count]]
        return [*last, *(v.across(depth=v.depth + deeper) for v in outs[count:])]

    def _note_loop(self, visit: Nested, inner: Plan, carried: list[Value], *, stacked: bool) -> None:
        """A loop that runs over layers in an unknown order, or over time."""
        (entry,) = visit.inside.entries
        starts = [visit.values[entry.operands[i]] for i in entry.carried]
        rows = [visit.values[entry.operands[i]] for i in entry.rows]
        lost = (self.stacks.lost(self._row(v, len(visit.place.lead))) for v in rows)
        if not stacked and (inner.indexes(Kind.WEIGHT) or any(lost)):
            self.pooled[id(visit.place), visit.index] = visit.eqn
        elif not inner.empty and _has_history(starts, rows, inner):
            self._watch_state(visit.eqn, inner, carried)
            consts = [visit.values[entry.operands[i]] for i in range(entry.carried.start)]
            inner.shared.update({i: v.leaves for i, v in enumerate(consts) if v.kind is Kind.WEIGHT})

    def _watch_state(self, eqn: JaxprEqn, inner: Plan, carried: list[Value]) -> None:
        """A loop over time that applies parameters: its floating state is measured at every step."""
        outvars: list[Any] = list(eqn.outvars)
        for position, (v, var) in enumerate(zip(carried, outvars, strict=False)):
            if v.kind is Kind.DATA and is_real(var.aval):
                self.placing.state_site(inner, position, var.aval).eqn = eqn


def _whole(tracks: Tracks, spread: tuple[int, ...], lead: int) -> Tracks:
    return {
        key: track for key, track in tracks.items() if all(track.shape[lead + axis] == 1 for axis in spread)
    }


def _start(v: Value, position: int) -> Value:
    """A state that begins as a constant becomes data at the first step."""
    tracks = into_loop(v.tracks, position)
    if v.kind is Kind.WEIGHT:
        return v.across(tracks=tracks)
    number = tracks.get(NUMBERS)
    counter = number is not None and number.ndim == position + 1
    return v.across(kind=Kind.DATA, tracks={NUMBERS: number} if counter else NOTHING)


def _carried(before: Tracks, after: Tracks, loop: Counted, *, guess: bool) -> Tracks:
    """What holds at every step, by induction: it does at the first, and each step hands it to the next.

    A running index is guessed from its first two values and then held to be right: the next turn of the
    fixed point is the proof, and drops a guess that does not follow from itself.
    """
    kept = {
        key: track
        for key, track in before.items()
        if key != NUMBERS and key in after and np.array_equal(track, after[key])
    }
    if NUMBERS in before and NUMBERS in after:
        now, later = before[NUMBERS], after[NUMBERS]
        if guess and later.ndim == now.ndim and later.shape[-1] == now.shape[-1] == 1:
            kept[NUMBERS] = counted(now, later, loop.length, reverse=loop.reverse)
        elif not guess and follows(now, later, reverse=loop.reverse):
            kept[NUMBERS] = now
    return kept


def _last(out: Value, position: int) -> Tracks:
    """Of a carried weight, what does not change from step to step."""
    return {
        key: np.squeeze(track, position)
        for key, track in out.tracks.items()
        if key != NUMBERS and out.kind is Kind.WEIGHT and track.shape[position] == 1
    }


def _changes(site: Site, position: int) -> bool:
    """Its weights are others at each step of the loop: layers, and no moments in time."""
    return any(track.shape[position] > 1 for track in site.places.values())


def _has_history(starts: list[Value], rows: list[Value], inner: Plan) -> bool:
    """The steps differ in what they are told, so that an early one can matter later.

    A loop that starts from constants and takes the same inputs at every step looks for a fixed point (deep
    equilibrium, power iteration, an unrolled solver): forgetting where it began is what it is for.
    """
    return inner.indexes(Kind.DATA) or any(v.kind is not Kind.CONSTANT for v in [*starts, *rows])

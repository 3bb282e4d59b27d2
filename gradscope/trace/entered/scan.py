"""`lax.scan` (and counted `fori_loop`): each step keeps its statistics apart.

The sinks of the body enter as one more scanned input, so their gradient comes back with one row per
step: δ at step t, at no extra backward pass. Where the parameters themselves are scanned over, a step
is a layer; where they are constants of the loop, a step is a moment in time, and the carried state is
a site too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.trace.dataflow import FLOW_RULES, Flow
from gradscope.trace.interpret import RUN_RULES, Taps, evaluate
from gradscope.trace.jaxprs import ScanParams, scan_params
from gradscope.trace.sites import Axis, Kind, Plan, Site, Value, join
from gradscope.trace.tracks import NOTHING, NUMBERS, Tracks, common, counted, follows, into_loop
from gradscope.trace.vocabulary import PRODUCTS, is_real


def flow_scan(flow: Flow, eqn: JaxprEqn, values: list[Value], plan: Plan, index: int) -> list[Value]:
    p = scan_params(eqn)
    position = len(plan.lead)
    axis = Axis(p.length, p.reverse, loop=flow.loop(plan, index))
    first, last = p.consts, p.consts + p.carry
    consts = [v.across(tracks=into_loop(v.tracks, position)) for v in values[:first]]
    rows = [flow.stacks.narrowed(_row(v, position), position + 1) for v in values[last:]]
    carry = [_start(v, position) for v in values[first:last]]
    guess = True
    while True:
        inner = plan.enter(index, axis=axis)
        outs = flow.walk(p.body, [*consts, *carry, *rows], inner)
        merged = [
            _merge(before, after, _carried(before.tracks, after.tracks, axis, guess=guess))
            for before, after in zip(carry, outs[: p.carry], strict=True)
        ]
        settled = all(_settled(a, b) for a, b in zip(merged, carry, strict=True))
        carry, guess = merged, False
        if settled:
            break
    growth = max((out.depth for out in outs[: p.carry]), default=0) - max((v.depth for v in carry), default=0)
    flow.pooled.pop((id(plan), index), None)
    stacked = [site for site in inner.sites() if _changes(site, position)]
    recurrent = any(site.op in PRODUCTS and not _changes(site, position) for site in inner.sites())
    if stacked and not recurrent:
        for site in stacked:
            site.strides[position] = max(growth, 0)
    elif not stacked and p.length > 1 and (inner.indexes(Kind.WEIGHT) or any(map(flow.stacks.lost, rows))):
        flow.pooled[id(plan), index] = eqn
    elif _has_history(values[first:last], values[last:], inner):
        _watch_state(flow, eqn, p, inner, carry)
    deeper = max(growth, 0) * (p.length - 1) if stacked and not recurrent else 0
    carried = [out.across(depth=out.depth + deeper, tracks=_last(out, position)) for out in outs[: p.carry]]
    return [*carried, *(out.across(depth=out.depth + deeper) for out in outs[p.carry :])]


def _row(v: Value, position: int) -> Value:
    """One step's part: the axis of the value becomes the axis of the loop, in its tracks as well."""
    if v.kind is Kind.WEIGHT:
        return v.across()
    kept = {key: t for key, t in v.tracks.items() if key == NUMBERS or t.shape[position] == 1}
    return v.across(tracks=kept, kind=Kind.DATA)


def _start(v: Value, position: int) -> Value:
    """A state that begins as a constant becomes data at the first step."""
    tracks = into_loop(v.tracks, position)
    if v.kind is Kind.WEIGHT:
        return v.across(tracks=tracks)
    number = tracks.get(NUMBERS)
    counter = number is not None and number.ndim == position + 1
    return v.across(kind=Kind.DATA, tracks={NUMBERS: number} if counter else NOTHING)


def _carried(before: Tracks, after: Tracks, axis: Axis, *, guess: bool) -> Tracks:
    """What holds at every step, by induction: it does at the first, and each step hands it to the next.

    A running index is guessed from its first two values and then held to be right.
    """
    kept = {
        key: track
        for key, track in before.items()
        if key != NUMBERS and key in after and np.array_equal(track, after[key])
    }
    if NUMBERS in before and NUMBERS in after:
        now, later = before[NUMBERS], after[NUMBERS]
        if guess and later.ndim == now.ndim and later.shape[-1] == now.shape[-1] == 1:
            kept[NUMBERS] = counted(now, later, axis.length, reverse=axis.reverse)
        elif not guess and follows(now, later, reverse=axis.reverse):
            kept[NUMBERS] = now
    return kept


def _merge(before: Value, after: Value, tracks: Tracks) -> Value:
    return replace(join([before, after.across()]), local=before.local, depth=before.depth, tracks=tracks)


def _settled(a: Value, b: Value) -> bool:
    alike = (a.kind, a.reads, a.grad, a.leaves, a.reduced) == (b.kind, b.reads, b.grad, b.leaves, b.reduced)
    return alike and a.tracks.keys() == b.tracks.keys() and len(common([a.tracks, b.tracks])) == len(a.tracks)


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


def _watch_state(flow: Flow, eqn: JaxprEqn, p: ScanParams, inner: Plan, carry: list[Value]) -> None:
    """A loop over time that applies parameters: its floating state is measured at every step."""
    if inner.empty or p.length < 2:
        return
    for position, (v, var) in enumerate(zip(carry, eqn.outvars, strict=False)):
        if v.kind is Kind.DATA and is_real(var.aval):
            flow.placing.state_site(inner, position, var.aval).eqn = eqn


def run_scan(taps: Taps, eqn: JaxprEqn, args: list[Any], plan: Plan, index: int) -> list[Any]:
    p = scan_params(eqn)
    inner = plan.inner[index, 0]
    first, last = p.consts, p.consts + p.carry
    consts, carry, xs = args[:first], args[first:last], args[last:]

    def body(carry: list[Any], step: Any) -> Any:
        xs, slots = step
        below = taps.below(slots)
        carry = [
            below.tap(inner.entry[i], value) if i in inner.entry else value for i, value in enumerate(carry)
        ]
        outs = evaluate(p.body, [*consts, *carry, *xs], inner, below)
        return outs[: p.carry], (outs[p.carry :], below.forward)

    steps = (xs, taps.slots_of(inner))
    state, (ys, forward) = lax.scan(body, carry, steps, p.length, reverse=p.reverse, unroll=p.unroll)
    taps.forward.update(forward)
    return [*state, *ys]


FLOW_RULES["scan"] = flow_scan
RUN_RULES["scan"] = run_scan

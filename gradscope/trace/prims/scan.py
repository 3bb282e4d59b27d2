"""`lax.scan` (and counted `fori_loop`): each step keeps its statistics apart.

The sinks of the body enter as one more scanned input, so their gradient comes back with one row per
step: δ at step t, at no extra backward pass. Where the parameters themselves are scanned over, a step
is a layer; where they are constants of the loop, a step is a moment in time, and the carried state is
a site too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.trace.dataflow import FLOW_RULES, Flow
from gradscope.trace.interpret import RUN_RULES, Taps, evaluate
from gradscope.trace.jax_compat import ScanParams, scan_params
from gradscope.trace.sites import Axis, Kind, Plan, Value, join
from gradscope.trace.vocabulary import PRODUCTS, is_real


def flow_scan(flow: Flow, eqn: JaxprEqn, values: list[Value], plan: Plan, index: int) -> list[Value]:
    p = scan_params(eqn)
    position = len(plan.lead)
    first, last = p.consts, p.consts + p.carry
    consts = [v.across() for v in values[:first]]
    rows = [_row(v, position) for v in values[last:]]
    carry = [_start(v) for v in values[first:last]]
    while True:
        inner = plan.enter(index, axis=Axis(p.length, p.reverse))
        outs = flow.walk(p.body, [*consts, *carry, *rows], inner)
        merged = [_merge(before, after) for before, after in zip(carry, outs[: p.carry], strict=True)]
        if [_settled(v) for v in merged] == [_settled(v) for v in carry]:
            break
        carry = merged
    growth = max((out.depth for out in outs[: p.carry]), default=0) - max((v.depth for v in carry), default=0)
    flow.pooled.pop((id(plan), index), None)
    stacked = [site for site in inner.sites() if site.axis == position]
    recurrent = any(site.op in PRODUCTS and site.axis != position for site in inner.sites())
    if stacked and not recurrent:
        for site in stacked:
            site.stride = max(growth, 0)
    elif not stacked and (inner.indexes(Kind.WEIGHT) or any(v.is_weight() for v in rows)):
        flow.pooled[id(plan), index] = eqn
    elif _has_history(values[first:last], values[last:], inner):
        _watch_state(flow, eqn, p, inner, carry)
    deeper = max(growth, 0) * (p.length - 1) if stacked and not recurrent else 0
    return [out.across(depth=out.depth + deeper, rows=False, axis=None) for out in outs]


def _row(v: Value, position: int) -> Value:
    if v.kind is not Kind.WEIGHT or not v.rows:
        return v.across(rows=False, kind=Kind.DATA if v.kind is Kind.CONSTANT else v.kind)
    return v.across(axis=position, rows=False, shape=v.shape[1:])


def _start(v: Value) -> Value:
    """A state that begins as a constant becomes data at the first step."""
    return v.across(kind=Kind.DATA if v.kind is Kind.CONSTANT else v.kind, rows=False)


def _merge(before: Value, after: Value) -> Value:
    return replace(join([before, after.across()]), local=before.local, depth=before.depth, rows=False)


def _settled(v: Value) -> tuple[Any, ...]:
    return v.kind, v.reads, v.grad, v.leaves, v.reduced, v.axis


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
            flow.state_site(inner, position, var.aval).eqn = eqn


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

"""`lax.scan` (and counted `fori_loop`): each step keeps its statistics apart.

The sinks of the body enter as one more scanned input, so their gradient comes back with one row per
step: δ at step t, at no extra backward pass. Where the parameters themselves are scanned over, a step
is a layer; where they are constants of the loop, a step is a moment in time, and the carried state is
a site too.
"""

from __future__ import annotations

from typing import Any

from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.trace.interpret import RUN_RULES, Taps, evaluate
from gradscope.trace.jaxprs import scan_params
from gradscope.trace.sites import Plan


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


RUN_RULES["scan"] = run_scan

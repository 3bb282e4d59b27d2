"""`lax.scan`, and a `fori_loop` whose length is known: the same jaxpr for each row of some operands.

What goes in beside is one more operand with a row for each step, and what is found inside is one more
stacked result: the gradient of the one that goes in comes back with a row for each step, too.
"""

from __future__ import annotations

from typing import Any

from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs import scan_params
from gradscope.trace.nested.contract import Counted, Entry, Inside, Run

NAMES = frozenset({"scan"})


def inside(eqn: JaxprEqn) -> Inside:
    p = scan_params(eqn)
    first, last, count = p.consts, p.consts + p.carry, len(eqn.invars)
    entry = Entry(0, p.body, tuple(range(count)), carried=range(first, last), rows=range(last, count))
    return Inside((entry,), loop=Counted(p.length, p.reverse))


def rebuild(eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
    p, entry = scan_params(eqn), inside(eqn).entries[0]
    first, last = p.consts, p.consts + p.carry
    consts, carry, xs = values[:first], values[first:last], values[last:]

    def step(before: Any, row: Any) -> Any:
        (carry, state), (xs, beside) = before, row
        outs, state, found = run(entry, [*consts, *carry, *xs], state, beside)
        return (outs[: p.carry], state), (outs[p.carry :], found)

    (carry, state), (ys, found) = lax.scan(
        step, (carry, state), (xs, rows), p.length, reverse=p.reverse, unroll=p.unroll
    )
    return [*carry, *ys], state, found

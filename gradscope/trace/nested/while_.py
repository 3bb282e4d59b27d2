"""`lax.while_loop`: nobody knows how often it turns, so nothing can go in or come back by step."""

from __future__ import annotations

from typing import Any

from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs import while_params
from gradscope.trace.nested.contract import Entry, Inside, Run, Until

NAMES = frozenset({"while"})


def inside(eqn: JaxprEqn) -> Inside:
    p = while_params(eqn)
    first, last, count = p.condition_consts, p.condition_consts + p.body_consts, len(eqn.invars)
    step = Entry(0, p.body, tuple(range(first, count)), carried=range(p.body_consts, count - first))
    condition = Entry(1, p.condition, (*range(first), *range(last, count)))
    return Inside((step,), loop=Until(condition))


def rebuild(eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
    """`rows` have to be empty, and what is found has to be, too."""
    del rows
    p, carried = while_params(eqn), inside(eqn)
    assert isinstance(carried.loop, Until)
    step, condition = carried.entries[0], carried.loop.condition
    first, last = p.condition_consts, p.condition_consts + p.body_consts
    asked, consts, carry = values[:first], values[first:last], values[last:]

    def goes_on(now: Any) -> Any:
        return run(condition, [*asked, *now[0]], now[1], ())[0][0]

    def turn(now: Any) -> Any:
        return run(step, [*consts, *now[0]], now[1], ())[:2]

    carry, state = lax.while_loop(goes_on, turn, (carry, state))
    return list(carry), state, ()

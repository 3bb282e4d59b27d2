"""`lax.cond` and `lax.switch`: the first operand says which jaxpr runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs import branches
from gradscope.trace.nested.contract import Entry, Inside, Run

NAMES = frozenset({"cond"})


def inside(eqn: JaxprEqn) -> Inside:
    operands = tuple(range(1, len(eqn.invars)))
    entries = (Entry(number, body, operands) for number, body in enumerate(branches(eqn)))
    return Inside(tuple(entries), chosen_by=0)


def rebuild(eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
    def branch(entry: Entry) -> Callable[..., tuple[list[Any], Any, Any]]:
        return lambda operands, state, rows: run(entry, operands, state, rows)

    ways = [branch(entry) for entry in inside(eqn).entries]
    return lax.switch(values[0], ways, values[1:], state, rows)  # type: ignore[no-any-return]

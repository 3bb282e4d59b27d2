"""`custom_jvp` and `custom_vjp`: the function as it is written, whose derivative is the author's own.

Rebuilt it is that function without the rule, so only an analysis that needs no derivative, or wants the
one of the function itself, may do so.
"""

from __future__ import annotations

from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs import CUSTOM_RULES, called_body
from gradscope.trace.nested.contract import Entry, Inside, Run

NAMES = frozenset(CUSTOM_RULES)


def inside(eqn: JaxprEqn) -> Inside:
    return Inside((Entry(0, called_body(eqn), tuple(range(len(eqn.invars)))),), own_rule=True)


def rebuild(eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
    return run(inside(eqn).entries[0], values, state, rows)

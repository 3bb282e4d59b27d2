"""`jit` and its like: a function called in place, entered as if it were written out."""

from __future__ import annotations

from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs import called_body
from gradscope.trace.nested.contract import Entry, Inside, Run

NAMES = frozenset({"jit", "closed_call", "eval_jaxpr"})
"""`closed_call` ends with JAX 0.10."""


def inside(eqn: JaxprEqn) -> Inside:
    return Inside((Entry(0, called_body(eqn), tuple(range(len(eqn.invars)))),), inlined=True)


def rebuild(eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
    return run(inside(eqn).entries[0], values, state, rows)

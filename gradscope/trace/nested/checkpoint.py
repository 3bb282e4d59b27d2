"""`jax.checkpoint`: what goes in beside is an argument of the function, its policy stays in force."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs import called_body, checkpoint_options
from gradscope.trace.nested.contract import Entry, Inside, Run

NAMES = frozenset({"remat2"})


def inside(eqn: JaxprEqn) -> Inside:
    return Inside((Entry(0, called_body(eqn), tuple(range(len(eqn.invars)))),))


def rebuild(eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
    entry = inside(eqn).entries[0]

    def body(values: list[Any], state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
        return run(entry, values, state, rows)

    outs, state, found = jax.checkpoint(body, **checkpoint_options(eqn))(values, state, rows)
    return list(outs), state, found

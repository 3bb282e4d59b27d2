"""`jit`, `closed_call` and their like: a function called in place, entered as if it were written out."""

from __future__ import annotations

from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace.interpret import RUN_RULES, Taps, evaluate
from gradscope.trace.jaxprs import called_body
from gradscope.trace.sites import Plan


def run_call(taps: Taps, eqn: JaxprEqn, args: list[Any], plan: Plan, index: int) -> list[Any]:
    return evaluate(called_body(eqn), args, plan.inner[index, 0], taps)


for _name in ("jit", "pjit", "closed_call", "core_call", "named_call"):
    RUN_RULES[_name] = run_call

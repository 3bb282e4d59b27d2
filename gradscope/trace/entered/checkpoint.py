"""`jax.checkpoint`: the sinks are arguments of the rematerialized function, its policy stays in force."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import JaxprEqn

from gradscope.trace.interpret import RUN_RULES, Slots, Taps, evaluate
from gradscope.trace.jaxprs import called_body, checkpoint_options
from gradscope.trace.sites import Plan


def run_checkpoint(taps: Taps, eqn: JaxprEqn, args: list[Any], plan: Plan, index: int) -> list[Any]:
    inner = plan.inner[index, 0]

    def body(args: list[Any], slots: Slots) -> Any:
        below = taps.below(slots)
        return evaluate(called_body(eqn), args, inner, below), below.forward

    outs, forward = jax.checkpoint(body, **checkpoint_options(eqn))(args, taps.slots_of(inner))
    taps.forward.update(forward)
    return list(outs)


for _name in ("checkpoint", "remat", "remat2"):
    RUN_RULES[_name] = run_checkpoint

"""`lax.cond` and `lax.switch`: each branch is tapped; a branch not taken leaves zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.trace.interpret import RUN_RULES, Slots, Taps, evaluate
from gradscope.trace.jaxprs import Body, branches
from gradscope.trace.sites import Plan


def run_cond(taps: Taps, eqn: JaxprEqn, args: list[Any], plan: Plan, index: int) -> list[Any]:
    chosen, *operands = args
    bodies = branches(eqn)
    plans = [plan.inner[index, number] for number in range(len(bodies))]
    slots: Slots = {}
    probes = [probe for way in plans for probe in way.all_probes()]
    for way in plans:
        slots.update(taps.slots_of(way))

    def branch(body: Body, way: Plan) -> Callable[..., Any]:
        def run(operands: list[Any], slots: Slots) -> Any:
            below = taps.below(slots)
            outs = evaluate(body, operands, way, below)
            missed = {key: below.nothing(slots[key]) for key in slots if key not in below.forward}
            for probe in probes:
                if probe.id not in below.forward:
                    missed[probe.id] = below.unprobed(probe, len(plan.lead))
            return outs, {**below.forward, **missed}

        return run

    functions = [branch(body, way) for body, way in zip(bodies, plans, strict=True)]
    outs, forward = lax.switch(chosen, functions, operands, slots)
    taps.forward.update(forward)
    return list(outs)


RUN_RULES["cond"] = run_cond

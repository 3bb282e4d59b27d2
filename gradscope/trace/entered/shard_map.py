"""`jax.shard_map`: each device keeps the statistics of its own shard, side by side on one leading axis.

A sink enters as one row per device, so no collective runs for it; rows are put together afterwards.
Typing a sink as varying over the whole mesh is what keeps JAX from summing its gradient over devices.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.interpret import RUN_RULES, Slots, Taps, evaluate
from gradscope.trace.jaxprs import shard_map_params
from gradscope.trace.sites import Plan


def run_shard_map(taps: Taps, eqn: JaxprEqn, args: list[Any], plan: Plan, index: int) -> list[Any]:
    p = shard_map_params(eqn)
    inner = plan.inner[index, 0]
    names = tuple(name for name, _ in p.axes)
    per_device = jaxprs.sharded_along(names)

    def body(args: list[Any], slots: Slots) -> Any:
        below = taps.below(jax.tree.map(lambda rows: rows[0], slots), typed)
        outs = evaluate(p.body, args, inner, below)
        return outs, jax.tree.map(lambda stats: jaxprs.make_varying(stats, typed)[None], below.forward)

    slots = taps.slots_of(inner)
    found = [*slots, *(probe.id for probe in inner.all_probes())]
    typed = p.axes if p.check_vma else ()
    mapped = jax.shard_map(
        body,
        mesh=p.mesh,
        in_specs=(list(p.in_specs), dict.fromkeys(slots, per_device)),
        out_specs=(list(p.out_specs), dict.fromkeys(found, per_device)),
        check_vma=p.check_vma,
        axis_names=frozenset(names),
    )
    outs, forward = mapped(args, slots)
    taps.forward.update(forward)
    return list(outs)


RUN_RULES["shard_map"] = run_shard_map

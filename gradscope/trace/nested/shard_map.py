"""`jax.shard_map`: what goes in beside is one row for each device, and so is what is found.

Typing what is found as varying over the whole mesh is what keeps JAX from summing a gradient over devices.
"""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import shard_map_params
from gradscope.trace.nested.contract import Entry, Inside, Run, Shards

NAMES = frozenset({"shard_map"})


def inside(eqn: JaxprEqn) -> Inside:
    p = shard_map_params(eqn)
    spread = tuple(tuple(axis for axis, names in enumerate(spec) if names) for spec in p.in_specs)
    devices = math.prod(size for _, size in p.axes)
    entry = Entry(0, p.body, tuple(range(len(eqn.invars))))
    return Inside((entry,), shards=Shards(devices, spread, p.axes if p.check_vma else ()))


def rebuild(eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any) -> tuple[list[Any], Any, Any]:
    """`state` has to be empty: it would have to go from device to device."""
    p, carried = shard_map_params(eqn), inside(eqn)
    assert carried.shards is not None
    names, typed = tuple(name for name, _ in p.axes), carried.shards.typed
    per_device = jaxprs.sharded_along(names)

    def body(values: list[Any], rows: Any) -> Any:
        outs, _, found = run(carried.entries[0], values, (), jax.tree.map(lambda each: each[0], rows))
        return outs, jax.tree.map(lambda each: jaxprs.make_varying(each, typed)[None], found)

    mapped = jax.shard_map(
        body,
        mesh=p.mesh,
        in_specs=(list(p.in_specs), per_device),
        out_specs=(list(p.out_specs), per_device),
        check_vma=p.check_vma,
        axis_names=frozenset(names),
    )
    outs, found = mapped(values, rows)
    return list(outs), state, found

"""`shard_map` and values that differ along the axes of a mesh."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, jaxpr_as_fun
from jax.sharding import PartitionSpec

from gradscope.trace.jaxprs.programs import Body, body_of

MeshAxes = tuple[tuple[str, int], ...]
"""Names and sizes of mesh axes."""


@dataclass(frozen=True)
class ShardMapParams:
    body: Body
    mesh: Any
    in_specs: tuple[Any, ...]
    out_specs: tuple[Any, ...]
    check_vma: bool
    axes: MeshAxes
    """Mesh axes that the body sees as manual, in the mesh's order."""


def shard_map_params(eqn: JaxprEqn) -> ShardMapParams:
    p = eqn.params
    manual = p["newly_manual_axes"]
    axes = tuple((axis, p["mesh"].shape[axis]) for axis in p["mesh"].axis_names if axis in manual)
    specs = (tuple(p["in_specs"]), tuple(p["out_specs"]))
    return ShardMapParams(body_of(p["jaxpr"]), p["mesh"], *specs, p["check_vma"], axes)


def unchecked_outputs(eqn: JaxprEqn) -> dict[int, MeshAxes]:
    """Outputs that are declared the same on all devices along some axes, where JAX was told not to check
    that: their numbers, and those axes."""
    p = shard_map_params(eqn)
    found = {}
    for number, spec in enumerate(p.out_specs if not p.check_vma else ()):
        named = {name for part in spec for name in (part if isinstance(part, tuple) else (part,))}
        missing = tuple((axis, size) for axis, size in p.axes if axis not in named and size > 1)
        if missing:
            found[number] = missing
    return found


def by_device(eqn: JaxprEqn, values: Sequence[Any]) -> dict[int, Any]:
    """Traceable: each of those outputs with what every device along its axes has, on a first axis."""
    p, wanted = shard_map_params(eqn), unchecked_outputs(eqn)
    run = jaxpr_as_fun(ClosedJaxpr(p.body.jaxpr, list(p.body.consts)))

    def body(*values: Any) -> list[Any]:
        outs = run(*values)
        return [outs[number][None] for number in wanted]

    specs = [
        PartitionSpec(tuple(axis for axis, _ in axes), *p.out_specs[number])  # type: ignore[no-untyped-call]
        for number, axes in wanted.items()
    ]
    names = frozenset(name for name, _ in p.axes)
    mapped = jax.shard_map(
        body, mesh=p.mesh, in_specs=tuple(p.in_specs), out_specs=specs, check_vma=False, axis_names=names
    )
    return dict(zip(wanted, mapped(*values), strict=True))


def each_device(eqn: JaxprEqn, values: Sequence[Any], run: Callable[..., Sequence[Any]]) -> tuple[Any, ...]:
    """Traceable: what `run` makes of the operands of a `shard_map` on each device; its results are scalars,
    and come back as arrays with a number for each device."""
    p = shard_map_params(eqn)
    names = tuple(name for name, _ in p.axes)

    def body(*values: Any) -> list[Any]:
        return [jnp.asarray(each)[None] for each in run(*values)]

    mapped = jax.shard_map(
        body,
        mesh=p.mesh,
        in_specs=tuple(p.in_specs),
        out_specs=sharded_along(names),
        check_vma=False,
        axis_names=frozenset(names),
    )
    return tuple(mapped(*values))


def named_axes(eqn: JaxprEqn) -> frozenset[str]:
    """The axes of a mesh that a collective operation, or a question for the place along one, names."""
    found = eqn.params.get("axes", eqn.params.get("axis_name", ()))
    return frozenset(found if isinstance(found, tuple) else (found,))


def varying_axes(value: Any) -> frozenset[str]:
    """Mesh axes along which a value inside `shard_map` differs between devices."""
    aval: Any = jax.typeof(value)
    return frozenset(aval.mat.varying)


def sharded_along(axes: tuple[str, ...]) -> PartitionSpec:
    """Axis 0 of an array spread over all of `axes`."""
    return PartitionSpec(axes)  # type: ignore[no-untyped-call]


def replicas(value: Any, axes: MeshAxes) -> int:
    """Devices along `axes` that hold the same value."""
    return math.prod(size for axis, size in axes if axis not in varying_axes(value))


def make_varying(value: Any, axes: MeshAxes) -> Any:
    """Type a replicated value as one that differs along `axes`; already varying axes are left out."""
    missing = tuple(axis for axis, _ in axes if axis not in varying_axes(value))
    if not missing:
        return value
    return jax.lax.pcast(value, missing, to="varying")

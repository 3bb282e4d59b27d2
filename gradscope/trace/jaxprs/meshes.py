"""`shard_map` and values that differ along the axes of a mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import JaxprEqn
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

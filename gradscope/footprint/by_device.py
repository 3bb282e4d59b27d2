"""What of a training step lies on each device of a mesh, by the shardings of its arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax

from gradscope.footprint.account import shapes_of
from gradscope.footprint.peak import size_of
from gradscope.records import MemoryByDevice
from gradscope.trace.program import Inputs, Program


def by_device(program: Program, inputs: Inputs, state: Sequence[Any] | None) -> MemoryByDevice | None:
    """`state` has the shapes of the optimizer's; `None` where all lies on one device."""
    mesh = spread_over([*inputs.weights, *inputs.others, *program.body.consts])
    if mesh is None:
        return None
    like = spread_by_shape(inputs.weights)
    return MemoryByDevice(
        axes=mesh[0],
        devices=mesh[1],
        parameters=sum(map(part_of, inputs.weights)),
        data=sum(map(part_of, [*inputs.others, *program.body.consts])),
        optimizer_state=None
        if state is None
        else sum(part_of(leaf, like.get(tuple(leaf.shape))) for leaf in state),
    )


def spread_over(arrays: Sequence[Any]) -> tuple[dict[str, int], int] | None:
    """Names and sizes of the axes of their mesh, where they have names, and the number of its devices; `None`
    where each array lies on one device."""
    spread = [sharding for array in arrays if (sharding := _spread(array)) is not None]
    if not spread:
        return None
    return _axes(spread), max(len(sharding.device_set) for sharding in spread)


def spread_by_shape(weights: Sequence[Any]) -> dict[tuple[int, ...], Any]:
    """Where an array of the optimizer's state lies: as the first parameter of its shape does, which is where
    `optimizer.init` puts it; `None` for one device."""
    return {tuple(weight.shape): _spread(weight) for weight in reversed(weights)}


def _spread(array: Any) -> Any:
    """The sharding of an array that lies on several devices."""
    sharding = getattr(array, "sharding", None)
    return sharding if sharding is not None and len(sharding.device_set) > 1 else None


def part_of(array: Any, sharding: Any = None) -> int:
    """Bytes on each device."""
    (about,) = shapes_of([array])
    sharding = _spread(array) or sharding
    if sharding is None or not about.size:
        return size_of(about)
    return size_of(about) // int(about.size) * int(math.prod(sharding.shard_shape(about.shape)))


def _axes(shardings: Sequence[Any]) -> dict[str, int]:
    """Those of the first mesh; empty where shardings have no names for them."""
    for sharding in shardings:
        if isinstance(sharding, jax.sharding.NamedSharding):
            return dict(sharding.mesh.shape)
    return {}

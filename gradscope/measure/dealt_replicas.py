"""How the rows of a batch are split over the replicas of a data-parallel training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradscope.measure.dealt_rows import splits_of
from gradscope.peers.placing import put
from gradscope.trace.leaves import split
from gradscope.trace.program import Inputs, Program


class NoReplicas(Exception):
    """Nothing can be measured; says why."""


@dataclass(frozen=True)
class Dealing:
    """By the layout of the arrays of a batch, or by the first `shard_map` that splits its rows."""

    along: tuple[int | None, ...]
    """By array: the axis; `None` where every replica has all of it."""
    replicas: int
    rows: int
    """Of each."""
    axes: tuple[str, ...]
    """Of the mesh; empty where they have no names."""

    def alone(self, inputs: Inputs, replica: int) -> Inputs:
        """With the rows of one replica in the places of all."""

        def order(length: int) -> NDArray[np.intp]:
            own = length // self.replicas
            return replica * own + np.arange(length) % own

        return self._with(inputs, order)

    def turned(self, inputs: Inputs, places: int) -> Inputs:
        """With the rows of each replica so many replicas further on."""
        return self._with(
            inputs, lambda length: np.roll(np.arange(length), places * (length // self.replicas))
        )

    def _with(self, inputs: Inputs, order: Any) -> Inputs:
        *arrays, key = inputs.others
        before = len(arrays) - len(self.along)
        dealt = [
            each if axis is None else _taken(each, axis, order(np.shape(each)[axis]))
            for each, axis in zip(arrays[before:], self.along, strict=True)
        ]
        return replace(inputs, others=[*arrays[:before], *dealt, key])


def dealing_of(program: Program, inputs: Inputs, batch: Any) -> Dealing:
    """Raises `NoReplicas` where the rows are not split."""
    arrays = list(split(batch).traced.values())
    placed = [_split_axis(each) for each in arrays]
    for array, found in zip(arrays, placed, strict=True):
        if found is not None:
            axis, replicas, axes = found
            along = tuple(each[0] if each is not None and each[1] == replicas else None for each in placed)
            return Dealing(along, replicas, int(np.prod(array.shape[: axis + 1])) // replicas, axes)
    for each in splits_of(program, inputs, batch):
        if each.given and each.devices > 1:
            along = tuple(0 if np.shape(array)[:1] == (each.rows,) else None for array in arrays)
            return Dealing(along, each.devices, each.rows // each.devices, each.axes)
    raise NoReplicas(
        "no array of the batch is split over devices: give --mesh data=4, or lay the batch out in the file"
    )


def _split_axis(array: Any) -> tuple[int, int, tuple[str, ...]] | None:
    """The first axis along which an array is split, in how many parts, and over which axes of the mesh."""
    sharding = array.sharding if isinstance(array, jax.Array) else None
    if sharding is None or jnp.issubdtype(array.dtype, jax.dtypes.prng_key) or not array.size:
        return None
    for axis, (whole, own) in enumerate(zip(array.shape, sharding.shard_shape(array.shape), strict=True)):
        if own < whole:
            spec = tuple(getattr(sharding, "spec", ()))
            names = spec[axis] if axis < len(spec) else ()
            return axis, whole // own, names if isinstance(names, tuple) else (names,)
    return None


def _taken(array: Any, axis: int, order: NDArray[np.intp]) -> Any:
    """Rows along an axis, where the array lies."""
    found = np.take(np.asarray(array), order, axis=axis)
    return put(found, array.sharding) if isinstance(array, jax.Array) else found

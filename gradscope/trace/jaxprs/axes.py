"""Where equations put the axes of their operands, and which elements they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jax.extend.core import JaxprEqn
from jax.lax import GatherScatterMode

Moves = tuple[int | None, ...]
"""For each axis of an operand the axis of the result that it becomes; `None` where it is summed or mixed."""


def moves(eqn: JaxprEqn) -> list[Moves] | None:
    """By operand, for equations that only carry axes on; `None` for any other."""
    name, shape = eqn.primitive.name, _shape(eqn, 0)
    if name == "transpose":
        order = tuple(eqn.params["permutation"])
        return [tuple(order.index(axis) for axis in range(len(order)))]
    if name == "broadcast_in_dim":
        return [tuple(int(axis) for axis in eqn.params["broadcast_dimensions"])]
    if name == "squeeze":
        gone = {int(axis) % len(shape) for axis in eqn.params["dimensions"]}
        kept = [axis for axis in range(len(shape)) if axis not in gone]
        return [tuple(kept.index(axis) if axis in kept else None for axis in range(len(shape)))]
    if name.startswith("reduce_") and "axes" in eqn.params:
        gone = {int(axis) % len(shape) for axis in eqn.params["axes"]} if shape else set()
        kept = [axis for axis in range(len(shape)) if axis not in gone]
        return [tuple(kept.index(axis) if axis in kept else None for axis in range(len(shape)))]
    if name == "dot_general":
        return _dot(eqn)
    if name == "conv_general_dilated":
        return _convolution(eqn)
    return None


def leads(eqn: JaxprEqn) -> bool:
    """Whether all axes that a `broadcast_in_dim` adds stand before those that were there, as those do that
    NumPy adds to an operand of lower rank; one that a reduction keeps stands where it was."""
    there = tuple(int(axis) for axis in eqn.params["broadcast_dimensions"])
    rank = len(_result(eqn))
    return there == tuple(range(rank - len(there), rank))


def _dot(eqn: JaxprEqn) -> list[Moves]:
    (left, right), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    found: list[Moves] = []
    start = len(left_batch)
    for operand, contracted, batch in ((0, left, left_batch), (1, right, right_batch)):
        to: list[int | None] = []
        for axis in range(len(_shape(eqn, operand))):
            if axis in batch:
                to.append(tuple(batch).index(axis))
            elif axis in contracted:
                to.append(None)
            else:
                to.append(start)
                start += 1
        found.append(tuple(to))
    return found


def _convolution(eqn: JaxprEqn) -> list[Moves]:
    spec = eqn.params["dimension_numbers"]
    rank = len(_shape(eqn, 0))
    batch, feature = spec.out_spec[:2]
    alone = eqn.params["batch_group_count"] == 1
    data = tuple(batch if axis == spec.lhs_spec[0] and alone else None for axis in range(rank))
    kernel = tuple(feature if axis == spec.rhs_spec[0] else None for axis in range(rank))
    return [data, kernel]


@dataclass(frozen=True)
class SideBySide:
    """A product of many weights with as many pieces of data: `vmap` over both, or a batched `einsum`."""

    axis: int
    """The axis of the weights along which they stand; several neighbours may belong to one."""
    other: tuple[int, int]
    """The other operand, and its axis along which the pieces of data stand."""
    count: int


def side_by_side(eqn: JaxprEqn, weight: int) -> list[SideBySide]:
    """The axes along which operand `weight` holds matrices, each of which meets data of its own.

    A vector each (a depthwise kernel, a diagonal state matrix) is one layer and not many.
    """
    name, shape = eqn.primitive.name, _shape(eqn, weight)
    if name == "dot_general":
        contracted, batch = eqn.params["dimension_numbers"]
        matrix = contracted[weight] and len(shape) > len(contracted[weight]) + len(batch[weight])
        pairs = zip(batch[weight], batch[1 - weight], strict=True)
        return [SideBySide(mine, (1 - weight, data), shape[mine]) for mine, data in pairs] if matrix else []
    if name == "conv_general_dilated" and weight == 1:
        groups, spec = eqn.params["feature_group_count"], eqn.params["dimension_numbers"]
        kernels, channels = spec.rhs_spec[0], spec.lhs_spec[1]
        return [SideBySide(kernels, (0, channels), groups)] if 1 < groups < shape[kernels] else []
    if name == "gather" and weight == 0:
        numbers = eqn.params["dimension_numbers"]
        pairs = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
        return [SideBySide(int(mine), (1, int(data)), shape[mine]) for mine, data in pairs]
    return []


def slices(eqn: JaxprEqn) -> list[tuple[int, int, int]]:
    """First, last and stride along each axis that `slice` or `rev` takes."""
    if eqn.primitive.name == "rev":
        turned = eqn.params["dimensions"]
        sizes = enumerate(_shape(eqn, 0))
        return [(size - 1, -1, -1) if axis in turned else (0, size, 1) for axis, size in sizes]
    bounds = zip(eqn.params["start_indices"], eqn.params["limit_indices"], strict=True)
    strides = eqn.params["strides"] or (1,) * len(eqn.params["start_indices"])
    return [(int(a), int(b), int(s)) for (a, b), s in zip(bounds, strides, strict=True)]


def order_before(eqn: JaxprEqn) -> tuple[int, ...]:
    """The axes of the operand in the order in which `reshape` reads them: it may transpose first."""
    order = eqn.params.get("dimensions") if eqn.primitive.name == "reshape" else None
    return tuple(range(len(_shape(eqn, 0)))) if order is None else tuple(int(axis) for axis in order)


def counted_along(eqn: JaxprEqn) -> tuple[tuple[int, ...], int]:
    """Shape of an `iota`, and the axis along which it counts."""
    return tuple(int(size) for size in eqn.params["shape"]), int(eqn.params["dimension"])


def axis_of(eqn: JaxprEqn) -> int:
    """The axis along which `concatenate`, `stack`, `split` and `unstack` work."""
    return int(eqn.params["dimension" if "dimension" in eqn.params else "axis"])


def chosen_along(eqn: JaxprEqn) -> int:
    """The axis of the operand along which `argmax` and `top_k` choose."""
    if eqn.primitive.name == "argmax":
        return int(eqn.params["axes"][0])
    return int(eqn.params.get("axis", -1)) % len(_shape(eqn, 0))


@dataclass(frozen=True)
class Lookup:
    """Elements taken at given places: `gather` and `dynamic_slice` in one form."""

    windows: Moves
    """For each axis of the operand the axis of the result along which its window lies."""
    indexed: tuple[int, ...]
    """Axes of the operand that are indexed, in the order of the components of an index."""
    sizes: tuple[int, ...]
    """Elements of the window along each axis of the operand."""
    batch: tuple[int, ...]
    """Axes of the result that count the indices."""


def lookup(eqn: JaxprEqn) -> Lookup:
    sizes = tuple(int(size) for size in eqn.params["slice_sizes"])
    every = tuple(range(len(sizes)))
    if eqn.primitive.name == "dynamic_slice":
        return Lookup(every, every, sizes, ())
    numbers = eqn.params["dimension_numbers"]
    paired = tuple(int(axis) for axis in numbers.operand_batching_dims)
    gone = {*(int(axis) for axis in numbers.collapsed_slice_dims), *paired}
    offsets = [int(axis) for axis in numbers.offset_dims]
    rank = len(_result(eqn))
    batch = tuple(axis for axis in range(rank) if axis not in offsets)
    counted = [int(axis) for axis in numbers.start_indices_batching_dims]
    places = iter(offsets)
    windows = [None if axis in gone else next(places) for axis in every]
    for axis, index_axis in zip(paired, counted, strict=True):
        windows[axis] = batch[index_axis]
    return Lookup(tuple(windows), tuple(int(axis) for axis in numbers.start_index_map), sizes, batch)


def last_starts(eqn: JaxprEqn) -> tuple[int, ...] | None:
    """Of a gather that says nothing of indices out of range, which are then moved to the nearest one: the
    largest that each component of an index may be. `None` where they are clipped or filled on purpose."""
    if eqn.params["mode"] not in (None, GatherScatterMode.PROMISE_IN_BOUNDS):
        return None
    shape, found = _shape(eqn, 0), lookup(eqn)
    return tuple(shape[axis] - found.sizes[axis] for axis in found.indexed)


def _shape(eqn: JaxprEqn, operand: int) -> tuple[int, ...]:
    aval: Any = eqn.invars[operand].aval
    return tuple(map(int, aval.shape))


def _result(eqn: JaxprEqn) -> tuple[int, ...]:
    aval: Any = eqn.outvars[0].aval
    return tuple(map(int, aval.shape))

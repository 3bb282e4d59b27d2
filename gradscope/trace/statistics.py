"""The statistics of a value at a site: each has a computation, a zero, a combination and a reading.

`Statistic.of` runs on the device, inside the traced program. What it gives is read back as one entry for each
step of the loops around the site; `combine` adds entries up, `read` turns the sum into the number of a
record. A new statistic is a class here, its name in `FLOW`, and the field of the record that shows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from gradscope.trace.jaxprs import MeshAxes, replicas

Floats = NDArray[np.float64]
Axes = tuple[int, ...]

Stats = dict[str, Array]
"""By name of the statistic: its array on the device, f[lead..., members..., own...]."""


def stats_dtype(dtype: Any) -> Any:
    """float64 for float64 (and complex128) values, else float32, whatever the model computes in."""
    return np.float64 if np.dtype(dtype) in (np.float64, np.complex128) else np.float32


class Operand:
    """A value that is being reduced. What several statistics need of it is computed once."""

    def __init__(self, value: Array, gain: Array, members: Axes) -> None:
        """`gain` f[members...] is a power of two that keeps the squares of `gain * value` in range."""
        self.value, self.dtype = value, stats_dtype(value.dtype)
        self.gain, self.members = gain, members

    # `lax` and not `jnp`: a `jnp` function is a jit of its own, and a deep network has thousands of these.

    @cached_property
    def size(self) -> Array:
        """The absolute value of each element."""
        return lax.convert_element_type(lax.abs(self.value), self.dtype)

    @cached_property
    def scaled(self) -> Array:
        """`gain` times `size`."""
        gain = lax.convert_element_type(self.gain, self.dtype)
        return self.size * lax.broadcast_in_dim(gain, self.size.shape, self.members)


class Statistic:
    """One statistic of a value.

    A δ that is zero everywhere may never reach `of`: its array is then 0, so `of` zeros has to be 0 where
    the statistic is one of δ.
    """

    name: ClassVar[str]
    """Unique. In a `Layer`: the fields `activation_<name>` and `delta_<name>`."""
    zero: ClassVar[float] = 0.0
    """Of no elements: the neutral element of `combine`."""
    additive: ClassVar[bool] = False
    """Adds up over elements: devices that hold the same value each count a part of it."""

    def own_axes(self, rank: int, units: Axes) -> Axes:
        """Axes of a value of this rank along which the statistic keeps its elements apart: `units`, rows."""
        del rank, units
        return ()

    def of(self, x: Operand, over: Axes) -> Array:
        """Traceable: reduced over the axes `over`, in the dtype `x.dtype`."""
        raise NotImplementedError

    def entry(self, found: Floats, gain: Floats) -> Floats:
        """What `of` gave, free of the gain: f64[entries..., own...]."""
        del gain
        return found

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        """The statistic of all elements behind the entries along `axes`."""
        raise NotImplementedError

    def read(self, total: Floats, count: float) -> Any:
        """The number of the record, from what `combine` gave of `count` elements."""
        raise NotImplementedError


class Count(Statistic):
    """Number of elements; 0 at a step whose branch was not taken."""

    name = "count"
    additive = True

    def of(self, x: Operand, over: Axes) -> Array:
        kept = [size for axis, size in enumerate(x.value.shape) if axis not in over]
        return lax.full(kept, math.prod(x.value.shape[axis] for axis in over), x.dtype)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.sum(axes), np.float64)

    def read(self, total: Floats, count: float) -> int:
        return round(float(total))


class Rms(Statistic):
    """Root mean square; 0 of no elements. An entry is the root of the sum of squares."""

    name = "rms"
    additive = True

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_sum(x.scaled * x.scaled, over)

    def entry(self, found: Floats, gain: Floats) -> Floats:
        return np.sqrt(found) / gain

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return norm(entries, axes)

    def read(self, total: Floats, count: float) -> float:
        return float(total / np.sqrt(count)) if count else 0.0


class Max(Statistic):
    """Largest absolute value; NaN where any element is NaN."""

    name = "max"

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_max(x.size, over)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.max(axes, initial=self.zero))

    def read(self, total: Floats, count: float) -> float:
        return float(total)


class Nonzero(Statistic):
    """Share of the elements that are not exactly zero, in [0, 1]; `None` where an element is NaN."""

    name = "nonzero_share"
    additive = True

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_sum(lax.sign(x.size), over)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.sum(axes), np.float64)

    def read(self, total: Floats, count: float) -> float | None:
        return float(total) / count if count and np.isfinite(total) else None


class Spread(Statistic):
    """Root mean square of what is left of each element without the mean over the first axis, which is not
    kept apart: 0 where all rows are alike; one number has no rows, and is left as it is. An entry is the root
    of the sum of squares."""

    name = "spread"
    additive = True

    def of(self, x: Operand, over: Axes) -> Array:
        value = lax.convert_element_type(x.value, x.dtype)
        if not value.ndim:
            return value * value
        mean = lax.reduce_sum(value, (0,)) / value.shape[0]
        rest = value - lax.broadcast_in_dim(mean, value.shape, range(1, value.ndim))
        return lax.reduce_sum(rest * rest, over)

    def entry(self, found: Floats, gain: Floats) -> Floats:
        return np.sqrt(found)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return norm(entries, axes)

    def read(self, total: Floats, count: float) -> float:
        return float(total / np.sqrt(count)) if count else 0.0


class Direction(Spread):
    """The same of rows that are each brought to an rms of 1 first: 0 where all point in one direction,
    however long they are. A row of zeros stays one."""

    name = "direction"

    def of(self, x: Operand, over: Axes) -> Array:
        value = lax.convert_element_type(x.value, x.dtype)
        if not value.ndim:
            return value * value
        along = tuple(axis for axis in over if axis)
        top = _repeated(lax.reduce_max(lax.abs(value), along), value, along)
        value = value / lax.select(top > 0, top, lax.full_like(top, 1))
        size = _repeated(lax.reduce_sum(value * value, along), value, along)
        count = math.prod(value.shape[axis] for axis in along)
        root = lax.sqrt(lax.select(size > 0, size, lax.full_like(size, 1)) / count)
        return super().of(Operand(value / root, x.gain, x.members), over)


def _repeated(reduced: Array, value: Array, along: Axes) -> Array:
    return lax.broadcast_in_dim(reduced, value.shape, [a for a in range(value.ndim) if a not in along])


COUNT, RMS, MAX, NONZERO, SPREAD, DIRECTION = Count(), Rms(), Max(), Nonzero(), Spread(), Direction()


class Selection(NamedTuple):
    """What one pass takes at every site. Each is one more walk over memory on a CPU."""

    value: tuple[Statistic, ...]
    """Of the value itself; `COUNT` among them."""
    delta: tuple[Statistic, ...]


FLOW = Selection(value=(COUNT, RMS, MAX), delta=(RMS, MAX))


def reduced(
    x: Array,
    gain: Array,
    statistics: Iterable[Statistic],
    members: Axes = (),
    mesh: MeshAxes = (),
    units: Axes = (),
) -> Stats:
    """Traceable: the statistics of `x` over all axes but `members` and those that a statistic keeps.

    `mesh` are the axes of the `shard_map`s around, along which the statistics of each device are kept apart.
    """
    operand, copies = Operand(x, gain, members), replicas(x, mesh)
    found = {}
    for statistic in statistics:
        shape = entry_shape(statistic, x.shape, members, units)
        if x.size == 0:
            found[statistic.name] = jnp.full(shape, statistic.zero, operand.dtype)
            continue
        kept = [*members, *_own(statistic, x.ndim, members, units)]
        value = statistic.of(operand, tuple(axis for axis in range(x.ndim) if axis not in kept))
        if kept != sorted(kept):
            value = lax.transpose(value, [sorted(kept).index(axis) for axis in kept])
        found[statistic.name] = value / copies if statistic.additive and copies > 1 else value
    return found


def entry_shape(statistic: Statistic, shape: Axes, members: Axes, units: Axes = ()) -> tuple[int, ...]:
    """Of the statistic of one value of this shape: its members, then the axes that are its own."""
    return tuple(shape[axis] for axis in (*members, *_own(statistic, len(shape), members, units)))


def _own(statistic: Statistic, rank: int, members: Axes, units: Axes) -> list[int]:
    return [axis for axis in statistic.own_axes(rank, units) if axis not in members]


def norm(values: Floats, axes: Axes | None = None) -> Floats:
    """Euclidean norm over `axes` (all by default), scaled by the largest value so that nothing overflows."""
    axes = tuple(range(values.ndim)) if axes is None else axes
    top = np.max(np.abs(values), axis=axes, keepdims=True, initial=0.0)
    scale = np.where((top > 0) & np.isfinite(top), top, 1.0)
    total = np.sqrt(np.sum((values / scale) ** 2, axis=axes, keepdims=True)) * scale
    return np.asarray(np.squeeze(total, axis=axes), np.float64)

"""How the operations and the seconds of a step grow with the batch and with the length of its sequences.

Operations are counted in programs that are traced for other shapes, so nothing has to fit for them; seconds
are those of the rows at hand, cut or repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.footprint.account import shapes_of
from gradscope.records import CostGrowth, GrowthPoint
from gradscope.trace import jaxprs
from gradscope.trace.compiling import users_errors
from gradscope.trace.jaxprs import Body
from gradscope.trace.leaves import is_array
from gradscope.trace.nested.contract import Counted
from gradscope.trace.nested.registry import inside
from gradscope.trace.program import Tracer
from gradscope.workload.account import operations_of

PARTS_OF_LENGTH = (0.25, 0.5, 0.75)
PARTS_OF_BATCH = (0.5, 2.0)
DEGREE = 2
EXACT = 1e-6
"""Of the operations: a polynomial that goes through all points so nearly is the program's own."""
FURTHEST = 64
"""Times the size at hand, where the half is looked for."""
Resize = Callable[[Any, int], Any]
"""A batch and a size, to that batch cut or repeated."""


class CannotCut(Exception):
    """The loss is not one of that size, or there is nothing to cut; says why."""


@dataclass(frozen=True)
class ResizableAxis:
    """One along which the batch can be made smaller or larger."""

    name: str
    of: str
    at: int
    resize: Resize
    sizes: tuple[int, ...]
    """At which it is looked at, the size at hand among them."""
    likely: bool = True
    """It is an axis of that kind; where it only may be one, nothing is said of a loss that has none."""

    def timed(self, *, few: bool) -> tuple[int, ...]:
        """Three of them, or two where each takes long; the size at hand is among them."""
        half = min(self.sizes, key=lambda size: abs(2 * size - self.at))
        return tuple(sorted({half, self.at} if few else {*self.sizes[:2], self.sizes[-1], self.at}))


def batch_axis(batch: Any, rows: int | None) -> ResizableAxis:
    if not any(map(is_array, jax.tree.leaves(batch))):
        raise CannotCut("the loss takes no batch of arrays")
    if rows is None:
        raise CannotCut("the arrays of the batch share no leading axis")
    if rows < 2:
        raise CannotCut("the batch has one row")
    sizes = sorted({max(1, int(rows * part)) for part in PARTS_OF_BATCH} | {rows})
    return ResizableAxis("batch", "rows", rows, _with_rows, tuple(sizes))


def _with_rows(batch: Any, rows: int) -> Any:
    """The first of them, or all of them again and again."""

    def resized(leaf: Any) -> Any:
        if not is_array(leaf) or not np.ndim(leaf):
            return leaf
        return _taken(leaf, (np.arange(rows) % np.shape(leaf)[0],))

    return jax.tree.map(resized, batch)


def _taken(leaf: Any, index: Any) -> Any:
    """Of a shape that stands for an array, the shape."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.eval_shape(lambda array: array[index], leaf)
    return leaf[index]


def length_axes(batch: Any, body: Body) -> list[ResizableAxis]:
    """Ways to cut the sequences of a batch, the likeliest first: tokens are integers of rows and places, a
    loop runs once for each place, and other sequences are numbers of rows, places and features."""
    arrays = [
        (name, leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(batch)[0]
        if is_array(leaf) and np.ndim(leaf) >= 2
        for name in ["batch" + jax.tree_util.keystr(path)]
    ]
    loops, found = set(_loop_lengths(body)), list[ResizableAxis]()
    images = jaxprs.has_primitive(body, frozenset({"conv_general_dilated"}))
    for name, leaf in arrays:
        shape, whole = np.shape(leaf), jnp.issubdtype(leaf.dtype, jnp.integer)
        sure = [axis for axis in (1, 0) if shape[axis] in loops] + [1] * (whole and len(shape) == 2)
        maybe = [1] if len(shape) == 3 and not images else []
        for axis in dict.fromkeys([*sure, *maybe]):
            length = shape[axis]
            sizes = tuple(sorted({int(length * part) for part in PARTS_OF_LENGTH} | {length}))
            if length < 8 or len(sizes) < 4:
                continue
            of = f"axis {axis} of {name}"
            for every in (False, True):
                cut = _cut_along(axis, length, every)
                found.append(ResizableAxis("length", of, length, cut, sizes, likely=axis in sure))
    return found


def _loop_lengths(body: Body) -> list[int]:
    found = []
    for eqn in body.eqns:
        for each in jaxprs.all_equations(eqn):
            carried = inside(each)
            if carried is not None and isinstance(carried.loop, Counted):
                found.append(carried.loop.length)
    return found


def _cut_along(axis: int, length: int, every: bool) -> Resize:
    """Each array that is as long along this axis, or along any later one, too: a mask has two."""

    def cut(batch: Any, size: int) -> Any:
        def resized(leaf: Any) -> Any:
            if not is_array(leaf):
                return leaf
            for place in range(axis, np.ndim(leaf) if every else min(axis + 1, np.ndim(leaf))):
                if np.shape(leaf)[place] == length:
                    leaf = _taken(leaf, (*[slice(None)] * place, np.arange(size) % length))
            return leaf

        return jax.tree.map(resized, batch)

    return cut


class OtherSizes:
    """The loss of a problem at batches of other shapes."""

    def __init__(self, tracer: Tracer, batch: Any, known: tuple[float, float]) -> None:
        """`known` are the operations of the batch at hand."""
        self._tracer, self._batch, self._known = tracer, batch, known
        self._traced: dict[tuple[str, str, int], tuple[Body, Any]] = {}

    def count(self, axis: ResizableAxis) -> CostGrowth:
        """Raises `CannotCut` where the loss cannot be traced at another size."""
        points = tuple(self._point(axis, size) for size in axis.sizes)
        found = with_fits(CostGrowth(axis.name, axis.of, axis.at, points))
        if found.polynomial or len(points) > DEGREE + 1:
            return found
        return with_fits(replace(found, points=(*points, self._point(axis, 3 * axis.at))))

    def further(self, axis: ResizableAxis, growth: CostGrowth) -> CostGrowth:
        """With the size at which the quadratic part is half of all, where the loss can be traced there and
        costs what the polynomial says."""
        size = half_of(growth.polynomial)
        if size is None or growth.half_at is not None or not axis.at < size <= FURTHEST * axis.at:
            return growth
        try:
            counted = self._point(axis, size).operations
        except CannotCut:
            return growth
        expected = np.polynomial.polynomial.polyval(size, growth.polynomial)
        return replace(growth, half_at=size) if abs(counted - expected) <= EXACT * counted else growth

    def _point(self, axis: ResizableAxis, size: int) -> GrowthPoint:
        if size == axis.at:
            return GrowthPoint(size, *self._known)
        body, inputs = self.at(axis, size)
        shapes = shapes_of(inputs.weights), shapes_of(inputs.others)
        try:
            with users_errors("differentiating the loss"):
                return GrowthPoint(size, *operations_of(body, *shapes))
        except GradscopeError as error:
            raise self._refused(axis, size, error) from error

    def at(self, axis: ResizableAxis, size: int) -> tuple[Body, Any]:
        """The program and its inputs."""
        key = axis.name, axis.of, size
        if key in self._traced:
            return self._traced[key]
        try:
            batch = axis.resize(self._batch, size)
            self._traced[key] = self._tracer.body(batch), self._tracer.inputs(batch)
            return self._traced[key]
        except GradscopeError as error:
            raise self._refused(axis, size, error) from error

    def _refused(self, axis: ResizableAxis, size: int, error: GradscopeError) -> CannotCut:
        said = error.what.rstrip(".")
        return CannotCut(f"the loss cannot be traced with {size} in the place of {axis.at} ({said})")


def with_fits(growth: CostGrowth) -> CostGrowth:
    """With the exponents and the polynomial of its points."""
    sizes = [float(point.size) for point in growth.points]
    operations = [point.operations for point in growth.points]
    timed = growth.measured
    polynomial = polynomial_through(sizes, operations)
    square = polynomial[2] * growth.at**2 if len(polynomial) == 3 else 0.0
    here = next((point.operations for point in growth.points if point.size == growth.at), 0.0)
    half = half_of(polynomial)
    return replace(
        growth,
        points=tuple(sorted(growth.points, key=lambda point: point.size)),
        exponent=slope(sizes, operations),
        time_exponent=slope([float(p.size) for p in timed], [p.seconds or 0.0 for p in timed]),
        polynomial=polynomial,
        quadratic_share=square / here if square and here else None,
        half_at=half if half is not None and half <= max(sizes) else growth.half_at,
    )


def slope(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Of the line through the points, both axes logarithmic; `None` where there are not two."""
    known = [(math.log(s), math.log(v)) for s, v in zip(sizes, values, strict=True) if s > 0 and v > 0]
    if len({at for at, _ in known}) < 2:
        return None
    x, y = np.asarray(known).T
    return float(np.polyfit(x, y, 1)[0])


def polynomial_through(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, ...]:
    """Of degree 1 where that goes through all points, else of degree 2; empty where neither does."""
    scale, largest = max(sizes), max(values)
    x, y = np.asarray(sizes) / scale, np.asarray(values)
    if largest <= 0:
        return ()
    for degree in range(1, DEGREE + 1):
        if len(set(sizes)) < degree + 2:  # a polynomial goes through so many points whatever they are
            break
        found = np.polynomial.polynomial.polyfit(x, y, degree)
        if np.max(np.abs(np.polynomial.polynomial.polyval(x, found) - y)) <= EXACT * largest:
            return tuple(float(each / scale**power) for power, each in enumerate(found))
    return ()


def half_of(polynomial: Sequence[float]) -> int | None:
    """The smallest size at which the quadratic part is half of all; `None` where there is none."""
    if len(polynomial) < 3 or polynomial[2] <= 0:
        return None
    rest, linear, square = polynomial
    root = (linear + math.sqrt(max(0.0, linear**2 + 4 * square * rest))) / (2 * square)
    return max(1, math.ceil(root - 1e-9)) if root > 0 else 1

"""The largest batch that fits below a limit, and gradient accumulation where the one at hand does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.footprint.account import compiled_memory, gradient_of, shapes_of
from gradscope.footprint.checkpointing import EQUAL, Plain, largest_error
from gradscope.records import Accumulation, MemoryLimit
from gradscope.records.progress import Progress
from gradscope.trace.compiling import compile_program
from gradscope.trace.leaves import is_array
from gradscope.trace.program import Program, Tracer

MOST_ROWS = 1 << 24
TRIES = 4
"""Compiles at an answer, each nearer to the limit than the one before."""
BELOW = 0.01
NEAR = 0.02
"""Of the rows: an answer that is so near to the limit is one."""


def rows_of(batch: Any) -> int | None:
    """The leading axis that all arrays of a batch share; `None` where there is no such axis."""
    arrays = [leaf for leaf in jax.tree.leaves(batch) if is_array(leaf) and np.ndim(leaf)]
    lengths = {np.shape(leaf)[0] for leaf in arrays}
    return int(lengths.pop()) if len(lengths) == 1 and min(lengths) > 0 else None


def with_rows(batch: Any, rows: int) -> Any:
    """Zeros in the shapes of a batch with another number of rows; they take no memory."""

    def resized(leaf: Any) -> Any:
        if not is_array(leaf) or not np.ndim(leaf) or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            return leaf
        return np.broadcast_to(np.zeros((), leaf.dtype), (rows, *np.shape(leaf)[1:]))

    return jax.tree.map(resized, batch)


def part_of(batch: Any, first: int, last: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[first:last] if is_array(leaf) and np.ndim(leaf) else leaf, batch)


class OneSize(Exception):
    """The loss cannot be traced with another number of rows."""

    def __init__(self, error: GradscopeError) -> None:
        self.reason = f"the loss cannot be traced with another number of rows ({error.what.rstrip('.')})"
        super().__init__(self.reason)


class Batches:
    """The peak of a step for batches of other sizes than the one at hand."""

    def __init__(self, tracer: Tracer, batch: Any, rows: int, peak: int, beside: int) -> None:
        """`peak` is that of the batch at hand; `beside` is the state of the optimizer."""
        self._tracer, self._batch, self._beside = tracer, batch, beside
        self.rows, self.known = rows, {rows: peak + beside}

    def peak(self, rows: int) -> int:
        """[bytes] by compiling it for this shape."""
        if rows not in self.known:
            batch = with_rows(self._batch, rows)
            try:
                program = self._tracer.trace(batch)
            except GradscopeError as error:
                raise OneSize(error) from error
            inputs = self._tracer.inputs(batch)
            found, _ = compiled_memory(program.body, shapes_of(inputs.weights), shapes_of(inputs.others))
            self.known[rows] = found.peak + self._beside
        return self.known[rows]

    def per_row(self) -> float:
        """Bytes of each row, by the line through the sizes that were measured."""
        sizes = np.asarray(sorted(self.known.items()), np.float64)
        return float(np.polyfit(sizes[:, 0], sizes[:, 1], 1)[0])

    def nearest(self, limit: int) -> int:
        """Rows at the limit, by the line through the two measured sizes that are nearest to it: one on each
        side where there are such."""
        below = [size for size in sorted(self.known) if self.known[size] <= limit]
        above = [size for size in sorted(self.known) if self.known[size] > limit]
        low, high = (below[-1], above[0]) if below and above else (below[-2:] or above[:2])
        slope = (self.known[high] - self.known[low]) / (high - low)
        if slope <= 0:
            return low
        return max(0, min(MOST_ROWS, math.floor(low + (limit - self.known[low]) / slope)))


def largest_batch(batches: Batches, limit: int, progress: Progress) -> MemoryLimit:
    """The rows by the line through two sizes, and compiled until they are seen to fit."""
    progress("compiling for another batch size")
    batches.peak(2 * batches.rows)
    for trial in range(TRIES):
        rows = batches.nearest(limit)
        # Memory is not quite a line: after the first trial it is aimed a little below.
        rows -= math.ceil(trial * BELOW * rows)
        if rows < 1 or rows in batches.known:
            break
        progress(f"compiling for {rows} rows")
        if batches.peak(rows) <= limit and batches.nearest(limit) <= rows * (1 + NEAR):
            break
    fits = [size for size, peak in batches.known.items() if peak <= limit]
    return MemoryLimit(limit, _measured(batches), batches.per_row(), max(fits, default=0))


def _measured(batches: Batches) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(batches.known.items()))


def accumulated(
    found: MemoryLimit, rows: int, halves: Callable[[], tuple[str, float | None]]
) -> Accumulation | None:
    """Where the batch of `rows` does not fit and a smaller one does."""
    if found.rows is None or not 0 < found.rows < rows:
        return None
    parts = next(parts for parts in range(2, rows + 1) if rows % parts == 0 and rows // parts <= found.rows)
    reduction, error = halves()
    return Accumulation(parts, rows // parts, reduction, error)


def reduction_of_halves(plain: Plain, tracer: Tracer, batch: Any, rows: int) -> tuple[str, float | None]:
    """Whether the mean or the sum of the gradients of two halves is that of the whole batch: tried."""
    if rows % 2:
        return "", None
    _, whole = plain.compiled(plain.inputs.weights, plain.inputs.others)
    parts = [part_of(batch, 0, rows // 2), part_of(batch, rows // 2, rows)]
    program: Program = tracer.trace(parts[0])
    weights = plain.inputs.weights
    compiled = compile_program(gradient_of(program.body), (weights, tracer.inputs(parts[0]).others), runs=2)
    both = [compiled(weights, tracer.inputs(part).others)[1] for part in parts]
    sums = [one + other for one, other in zip(*both, strict=True)]
    errors = {
        "mean": largest_error(whole, [each / 2 for each in sums]),
        "sum": largest_error(whole, sums),
    }
    best = min(errors, key=lambda name: errors[name])
    return (best, errors[best]) if errors[best] <= EQUAL else ("neither", errors[best])

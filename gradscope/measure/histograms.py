"""How the elements of weights and gradients are distributed by size: a pass that runs only when asked for.

One program, out of which come counts: no gradient leaves it. A bin is found by comparing with its edges and
not by a logarithm, which rounds: an element on an edge lies in the same bin on every backend.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from gradscope.measure.flow import FlowPass
from gradscope.measure.leaf_statistics import rows_first, stacks_of_leaves
from gradscope.records import Timing
from gradscope.records.histograms import PER_DECADE, Histogram
from gradscope.trace.program import Inputs, Program

LOW, HIGH = -37, 38
"""Decades of the normal numbers of float32; below them a backend may flush to zero."""
FIRST = LOW * PER_DECADE
EDGES = 10.0 ** (np.arange(FIRST, HIGH * PER_DECADE + 1) / PER_DECADE)
ZEROS, NONFINITE = 0, EDGES.size + 1
"""Places in a row of counts; what lies beyond the last edge is in the last bin."""

Counts = NDArray[np.int64]


def histograms(
    program: Program, flow: FlowPass, inputs: Inputs, *, progress: Callable[[str], None]
) -> tuple[tuple[Histogram, ...], Timing]:
    """Of each layer's weights and gradient at the inputs of one batch, in forward order."""
    progress("counting by size")
    running = time.perf_counter()
    stacks = stacks_of_leaves(program)
    count = jax.jit(by_size, static_argnums=1)

    def counted(leaf: int, value: Any) -> Any:
        return count(value, stacks[leaf])

    weights = [counted(leaf, weight) for leaf, weight in enumerate(inputs.weights)]
    found: list[list[Counts]] = jax.device_get([weights, flow.gradients(inputs, counted)])
    layers = (*_layers(program, found[0], "weight"), *_layers(program, found[1], "gradient"))
    return layers, Timing(run_s=time.perf_counter() - running)


def by_size(value: Array, stack: Sequence[int] = ()) -> Array:
    """Traceable: zeros, counts of each bin and what is not finite, for each row of a stacked leaf."""
    dtype = jnp.float64 if value.dtype == jnp.float64 else jnp.float32
    lead = tuple(value.shape[axis] for axis in stack)
    size = jnp.abs(rows_first(value, stack).astype(dtype))
    place = jnp.searchsorted(jnp.asarray(EDGES, dtype), size, side="right")
    place = jnp.minimum(place, EDGES.size)
    place = jnp.where(jnp.isfinite(size), place, NONFINITE).reshape(*lead, -1)
    count: Callable[[Array], Array] = partial(jnp.bincount, length=NONFINITE + 1)
    for _ in lead:
        count = jax.vmap(count)
    return count(place)


def _layers(program: Program, counts: Sequence[Counts], of: str) -> Iterator[Histogram]:
    rows = [(group, row) for group in program.layers for row in group.rows()]
    rows.sort(key=lambda each: (not each[1].uses, each[1].order))
    for group, row in rows:
        yield histogram(row.name, of, sum((counts[leaf][row.index] for leaf in group.leaves), np.int64(0)))


def histogram(layer: str, of: str, counts: Any) -> Histogram:
    """The record of one row of counts, without its empty ends."""
    bins = np.asarray(counts)[1:NONFINITE]
    (filled,) = np.nonzero(bins)
    low, high = (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, 0)
    return Histogram(
        layer,
        of,
        FIRST + low,
        tuple(int(count) for count in bins[low:high]),
        int(counts[ZEROS]),
        int(counts[NONFINITE]),
    )

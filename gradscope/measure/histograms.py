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

from gradscope.measure.leaf_statistics import stacks_of_leaves
from gradscope.records import Timing
from gradscope.records.histograms import PER_DECADE, Histogram
from gradscope.trace.compiling import compile_program
from gradscope.trace.program import Inputs, Program

LOW, HIGH = -37, 38
"""Decades of the normal numbers of float32; below them a backend may flush to zero."""
FIRST = LOW * PER_DECADE
EDGES = 10.0 ** (np.arange(FIRST, HIGH * PER_DECADE + 1) / PER_DECADE)
ZEROS, NONFINITE = 0, EDGES.size + 1
"""Places in a row of counts; what lies beyond the last edge is in the last bin."""

Counts = NDArray[np.int64]


def histograms(
    program: Program, inputs: Inputs, *, progress: Callable[[str], None]
) -> tuple[tuple[Histogram, ...], Timing]:
    """Of each layer's weights and gradient at the inputs of one batch, in forward order."""
    progress("counting by size")
    weights, gradients, timing = _counted(program, inputs)
    return (*_layers(program, weights, "weight"), *_layers(program, gradients, "gradient")), timing


def _counted(program: Program, inputs: Inputs) -> tuple[list[Counts], list[Counts], Timing]:
    stacks, consts = stacks_of_leaves(program), list(program.body.consts)

    def step(weights: list[Array], others: list[Array], consts: list[Array]) -> Any:
        gradients = jax.grad(program.loss)(weights, others, consts)
        return [
            [by_size(value, stack) for value, stack in zip(values, stacks, strict=True)]
            for values in (weights, gradients)
        ]

    args = (inputs.weights, inputs.others, consts)
    compiled = compile_program(step, args, runs=1)
    running = time.perf_counter()
    found = jax.device_get(compiled(*args))
    run_s = time.perf_counter() - running
    weights, gradients = ([np.asarray(each, np.int64) for each in part] for part in found)
    timing = Timing(trace_s=compiled.trace_s, compile_s=compiled.compile_s, run_s=run_s)
    return weights, gradients, timing


def by_size(value: Array, stack: Sequence[int] = ()) -> Array:
    """Traceable: zeros, counts of each bin and what is not finite, for each row of a stacked leaf."""
    dtype = jnp.float64 if value.dtype == jnp.float64 else jnp.float32
    lead = tuple(value.shape[axis] for axis in stack)
    size = jnp.abs(jnp.moveaxis(value, stack, range(len(stack))).astype(dtype))
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

"""Statistics of parameter leaves and of their gradients: rms, largest value, share of zeros.

A large leaf is reduced where it lies. A small one is handed out whole and reduced by NumPy: each reduction
is one more kernel for XLA to compile, and most leaves of a deep network are small (biases, norms): without
this the pass of a 12-layer transformer has 2.6 times the kernels of its plain gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.measure.readings import Reading
from gradscope.trace.compiling import compile_program
from gradscope.trace.program import Program
from gradscope.trace.spread import in_reach
from gradscope.trace.statistics import MAX, NONZERO, RMS, Statistic, Stats, reduced, stats_dtype

SMALL = 2**16
"""Elements up to which a leaf leaves the program: 256 KiB of float32, copied in well under a millisecond."""

LEAF = (RMS, MAX)
GRADIENT = (RMS, MAX, NONZERO)


class LeafStatistics:
    """How the leaves of a program are reduced; stacked leaves keep one number per layer."""

    def __init__(self, program: Program, small: float = SMALL) -> None:
        self._leaves = program.leaves
        self._stacks = stacks_of_leaves(program)
        self._large = [i for i, leaf in enumerate(program.leaves) if leaf.size > small]

    def gains(self) -> dict[int, Any]:
        """Ones, for each leaf that is reduced on the device."""
        return {
            leaf: np.ones(self._lead(leaf), stats_dtype(self._leaves[leaf].dtype)) for leaf in self._large
        }

    def reduced(
        self, values: Sequence[Array], gains: dict[int, Array], statistics: tuple[Statistic, ...] = LEAF
    ) -> list[Array | Stats]:
        """Traceable: the statistics of a large leaf, a small one as it is."""
        return [
            reduced(value, gains[leaf], statistics, self._stacks[leaf]) if leaf in gains else value
            for leaf, value in enumerate(values)
        ]

    def kind(self, leaf: int) -> Hashable:
        """Equal for leaves that are reduced by the same program."""
        about = self._leaves[leaf]
        return about.shape, str(about.dtype), self._stacks[leaf]

    def reducer(self, leaf: int, statistics: tuple[Statistic, ...]) -> Callable[[Array, Array], Stats]:
        """Traceable: the statistics of one large leaf, from its value and its gain."""
        return partial(reduced, statistics=statistics, members=self._stacks[leaf])

    def read(
        self, found: Sequence[Any], gains: dict[int, Any], statistics: tuple[Statistic, ...] = LEAF
    ) -> list[Reading]:
        """Of each leaf, from what `reduced` gave."""
        return [
            Reading.of(statistics, value, gains[leaf], self._size(leaf))
            if leaf in gains
            else self._read_whole(leaf, value, statistics)
            for leaf, value in enumerate(found)
        ]

    def _read_whole(self, leaf: int, value: Any, statistics: tuple[Statistic, ...]) -> Reading:
        lead = self._lead(leaf)
        stacked = np.moveaxis(np.asarray(value), self._stacks[leaf], range(len(lead)))
        flat = stacked.reshape(*lead, -1) if stacked.size else np.zeros((*lead, 0), np.float32)
        if flat.dtype not in (np.float32, np.float64):
            flat = flat.astype(np.float32)
        size = np.abs(flat)
        top = size.max(axis=-1, initial=0.0).astype(np.float64)
        usable = np.isfinite(top) & (top > 0)
        gain = np.exp2(-np.round(np.log2(np.where(usable, top, 1.0))))
        size *= gain[..., None].astype(size.dtype)
        with np.errstate(over="ignore"):  # beside an infinity, squares may overflow: so does the sum
            square = np.square(size, out=size).sum(axis=-1, dtype=np.float64)
        found = {RMS.name: square, MAX.name: top, NONZERO.name: np.count_nonzero(flat, axis=-1)}
        return Reading.of(statistics, found, gain, flat.shape[-1])

    def _size(self, leaf: int) -> int:
        """Elements of one row of the leaf."""
        return self._leaves[leaf].size // math.prod(self._lead(leaf))

    def _lead(self, leaf: int) -> tuple[int, ...]:
        return tuple(self._leaves[leaf].shape[axis] for axis in self._stacks[leaf])


def rows_first(value: Array, stack: Sequence[int]) -> Array:
    """The value with the axes in front along which it holds one layer after the other."""
    return jnp.moveaxis(value, stack, range(len(stack)))


def stacks_of_leaves(program: Program) -> list[tuple[int, ...]]:
    """The axes along which each leaf holds one layer after the other."""
    stacks: list[tuple[int, ...]] = [()] * len(program.leaves)
    for layer in program.layers:
        for leaf, axes in zip(layer.leaves, layer.axes, strict=True):
            stacks[leaf] = axes
    return stacks


def weight_statistics(program: Program, weights: Sequence[Any]) -> list[Reading]:
    """Of the parameters themselves; on a CPU NumPy reads them where they lie."""
    leaves = LeafStatistics(program, math.inf if in_reach(weights) else SMALL)
    found, gains = list(weights), leaves.gains()
    if gains:
        found = jax.device_get(compile_program(leaves.reduced, (found, gains), runs=1)(found, gains))
    return leaves.read(found, gains)

"""From the one vector of a measured step to the numbers of each layer.

The vector holds, one after the other: of each entry of each site the count of elements, the square sum of the
value and that of δ; of each entry of each leaf the square sums of its gradient, of its value and of the
step's change. An entry is a step of a loop, or a layer of a stack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from gradscope.measure.flow import Sample
from gradscope.measure.leaf_statistics import stacks_of_leaves
from gradscope.measure.measurement import rows_of, weight_of
from gradscope.measure.readings import Reading, range_gain
from gradscope.records import RecordedLayer
from gradscope.trace.program import Program
from gradscope.trace.statistics import COUNT, MAX, RMS, Floats, Selection, reduced, stats_dtype

TAKEN = Selection(value=(COUNT, RMS), delta=(RMS,))
VALUE, DELTA = 0, 1
GRADIENT, WEIGHT, UPDATE = range(3)
"""Rows of what is taken of the leaves."""

Ids = NDArray[np.intp]
Gains = tuple[Floats, Floats]
"""f64[2, entries] of the sites, f64[3, entries] of the leaves."""


class Pool:
    """Which entries belong to which layer; an entry may belong to several."""

    def __init__(self) -> None:
        self._entries: list[Ids] = []
        self._layers: list[Ids] = []

    def add(self, entries: Ids, layer: int) -> None:
        self._entries.append(entries)
        self._layers.append(np.full(len(entries), layer))

    def close(self, layers: int) -> None:
        """All have been added."""
        self._count = layers
        self._at = np.concatenate(self._entries) if self._entries else np.zeros(0, np.intp)
        self._of = np.concatenate(self._layers) if self._layers else np.zeros(0, np.intp)

    def sum(self, vector: Floats) -> Floats:
        """f64[layers]"""
        found = np.bincount(self._of, weights=vector[self._at], minlength=self._count)
        return np.asarray(found, np.float64)


class LayerNumbers:
    """Takes the vector inside a compiled step, and reads it outside; keeps the gains of the squares."""

    def __init__(self, program: Program, weights: Sequence[Reading], first: Sample) -> None:
        """`weights` are the statistics of the params, by which a weight is told from its bias; `first` is the
        flow pass at the start, whose numbers set the gains."""
        self._program, rows = program, rows_of(program)
        self.about = tuple(RecordedLayer(row.name, source) for _, row, source in rows)
        self._stacks = stacks_of_leaves(program)
        self._places, self._site_entries = numbered([site.shape for site in program.sites])
        leads = [
            tuple(leaf.shape[axis] for axis in stack)
            for leaf, stack in zip(program.leaves, self._stacks, strict=True)
        ]
        self._leads, self._leaf_entries = numbered(leads)
        self._value, self._delta, self._leaf = Pool(), Pool(), Pool()
        self._sizes = np.zeros(len(rows))
        at = {site.id: place for place, site in enumerate(program.sites)}
        for number, (group, row, _) in enumerate(rows):
            live = [use for use in row.uses if use[0].live] or row.uses
            for pool, uses in ((self._value, row.uses), (self._delta, live)):
                for site, mask in uses:
                    pool.add(self._places[at[site.id]][mask], number)
            readings = [weights[each].at(row.index) for each in group.leaves]
            main = group.leaves[weight_of(program, group, readings)]
            own = np.atleast_1d(self._leads[main][row.index])
            self._leaf.add(own.ravel(), number)
            self._sizes[number] = program.leaves[main].size / self._leads[main].size * own.size
        for pool in (self._value, self._delta, self._leaf):
            pool.close(len(rows))
        self._dtypes = [np.dtype(stats_dtype(site.dtype)) for site in program.sites]
        self._leaf_dtypes = [np.dtype(stats_dtype(leaf.dtype)) for leaf in program.leaves]
        self._site_gains = np.ones((2, self._site_entries))
        self._leaf_gains = np.ones((3, self._leaf_entries))
        for place, site in enumerate(program.sites):
            for which, found in ((VALUE, first.forward), (DELTA, first.delta)):
                own_gains = range_gain(found[site.id][MAX], self._dtypes[place])
                self._site_gains[which][self._places[place]] = own_gains
        for place, reading in enumerate(first.gradients):
            gains = range_gain(reading[MAX], self._leaf_dtypes[place])
            self._leaf_gains[GRADIENT][self._leads[place]] = gains

    def gains(self) -> tuple[Gains, Any]:
        """Those for the next step: as they are, for `read`, and on the device, for `taken`."""
        sites = {
            site.id: jnp.asarray(
                np.moveaxis(self._site_gains[:, self._places[place]], 0, -1), self._dtypes[place]
            )
            for place, site in enumerate(self._program.sites)
        }
        leaves = [
            jnp.asarray(self._leaf_gains[:, self._leads[place]], dtype)
            for place, dtype in enumerate(self._leaf_dtypes)
        ]
        return (self._site_gains.copy(), self._leaf_gains.copy()), (sites, leaves)

    def taken(
        self,
        forward: Mapping[int, Any],
        delta: Mapping[int, Any],
        leaves: Sequence[Sequence[Array]],
        gains: Sequence[Array],
    ) -> Array:
        """Traceable: the vector; `leaves` are gradients, values and changes of all leaves."""
        sites = [site.id for site in self._program.sites]
        parts = [forward[site][COUNT.name] for site in sites]
        parts += [forward[site][RMS.name] for site in sites]
        parts += [delta[site][RMS.name] for site in sites]
        for row, values in enumerate(leaves):
            for leaf, value in enumerate(values):
                found = reduced(value, gains[leaf][row], (RMS,), self._stacks[leaf])
                parts.append(found[RMS.name])
        dtype = jnp.result_type(jnp.float32, *parts)
        return jnp.concatenate([jnp.ravel(part).astype(dtype) for part in parts] or [jnp.zeros(0)])

    def finite(self, vector: Any) -> bool:
        """Whether the square sums of all leaves are, after the step: else the leaves have to be asked."""
        _, leaves = np.split(np.asarray(vector), [3 * self._site_entries])
        return bool(np.isfinite(leaves.reshape(3, self._leaf_entries)[WEIGHT]).all())

    def read(self, vector: Any, gains: Gains) -> tuple[float, tuple[tuple[float, ...], ...], bool]:
        """Norm of the whole gradient; by quantity and layer the numbers of the record; and whether the gains
        have moved, so that the next step should be given `gains` anew. `gains` are those that the vector was
        taken at."""
        site_gains, leaf_gains = gains
        found = np.asarray(vector, np.float64)
        sites, leaves = np.split(found, [3 * self._site_entries])
        counts, *squares = sites.reshape(3, self._site_entries)
        with np.errstate(all="ignore"):
            site_squares = np.stack(squares) / site_gains**2
            leaf_squares = leaves.reshape(3, self._leaf_entries) / leaf_gains**2
            norm = float(np.sqrt(leaf_squares[GRADIENT].sum()))
            norm = norm if math.isfinite(norm) else math.inf
            elements = self._value.sum(counts), self._delta.sum(counts)
            means = [
                mean(self._value.sum(site_squares[VALUE]), elements[0]),
                mean(self._delta.sum(site_squares[DELTA]), elements[1]),
                *(mean(self._leaf.sum(row), self._sizes) for row in leaf_squares),
            ]
        values = tuple(tuple(np.sqrt(row).tolist()) for row in means)
        return norm, values, self._followed(site_squares, counts, leaf_squares)

    def _followed(self, sites: Floats, counts: Floats, leaves: Floats) -> bool:
        """Set the gains by what this step measured."""
        moved = False
        with np.errstate(all="ignore"):
            roots = np.sqrt(sites / np.maximum(counts, 1))
        for gains, found, places, dtypes in (
            (self._site_gains, roots, self._places, self._dtypes),
            (self._leaf_gains, np.sqrt(leaves), self._leads, self._leaf_dtypes),
        ):
            for place, dtype in zip(places, dtypes, strict=True):
                own = found[:, place]
                usable = np.isfinite(own) & (own > 0)
                wanted = np.where(usable, range_gain(own, dtype), gains[:, place])
                moved = moved or bool((wanted != gains[:, place]).any())
                gains[:, place] = wanted
        return moved


def numbered(shapes: Sequence[tuple[int, ...]]) -> tuple[list[Ids], int]:
    """The place in the vector of each entry of arrays of these shapes, and how many there are."""
    places, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape, dtype=np.int64))
        places.append(np.arange(start, start + size).reshape(shape))
        start += size
    return places, start


def mean(squares: Floats, counts: Floats) -> Floats:
    """NaN where there is no element, infinite where the sum is not finite."""
    found = np.where(np.isfinite(squares), squares / np.maximum(counts, 1), np.inf)
    return np.where(counts > 0, found, np.nan)

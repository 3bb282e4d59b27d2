"""The vector that `Monitor` hands out of a step, and how it is read.

It begins with the number of its layout. Of each entry of each site follow the count of elements and the roots
of the square sums of the value and of δ; of each entry of each leaf those of its gradient, of its
value, and of the step's change where that was given. An entry is a step of a loop, or a layer of a stack.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gradscope.measure.leaf_statistics import stacks_of_leaves
from gradscope.measure.measurement import rows_of
from gradscope.records import RecordedLayer, Source
from gradscope.trace.layers import LayerGroup
from gradscope.trace.program import Program
from gradscope.trace.statistics import COUNT, RMS, Axes, Floats, Operand, Rms, Selection, reduced
from gradscope.training.layer_numbers import Pool, mean, numbered


class _FixedRms(Rms):
    """At a gain of its own, whatever the operand has."""

    gain: ClassVar[float]

    def of(self, x: Operand, over: Axes) -> Array:
        scaled = x.size * np.asarray(self.gain, x.dtype)
        return lax.reduce_sum(scaled * scaled, over)

    def entry(self, found: Floats, gain: Floats) -> Floats:
        return np.sqrt(found) / self.gain


class _Small(_FixedRms):
    """In float32 from 1e-38 up to where it overflows: 2e-3 for a million elements of like size."""

    name = "small_rms"
    gain = 2.0**63


class _Large(_FixedRms):
    """In float32 from 2e-6 to 1e29."""

    name = "large_rms"
    gain = 2.0**-44


SMALL, LARGE = _Small(), _Large()
TAKEN = Selection(value=(COUNT, SMALL, LARGE), delta=(SMALL, LARGE))
SMALL_LEAF = 2**14
"""Elements up to which a leaf is reduced at both gains."""
LOWEST_MEAN = 1e-30
"""Of squares, above which those that are zero in float32 do not count."""

_BIASES = frozenset({"b", "bias", "beta", "offset", "shift"})


@dataclass(frozen=True, slots=True)
class MeasuredLayer:
    """Root mean squares over elements; `None` where the layer has no such value, infinite where it is not
    finite."""

    name: str
    source: Source | None
    """The user's line."""
    activation_rms: float | None
    delta_rms: float | None
    """Of δ = ∂L/∂output."""
    gradient_rms: float | None
    """Of the gradient of its largest parameter leaf."""
    weight_rms: float | None
    """Of the values of that leaf: before the step, or after it where the update was given."""
    update_rms: float | None
    """Of what the step changed in that leaf; `None` unless `Monitor.with_update` was told."""


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """What one vector says."""

    gradient_norm: float
    """Euclidean norm over all parameters."""
    layers: tuple[MeasuredLayer, ...]
    """In forward order."""


class VectorLayout:
    """Which numbers of the vector belong to which layer, at one shape of the loss's arguments."""

    def __init__(self, program: Program) -> None:
        rows = rows_of(program)
        self.layers = tuple(RecordedLayer(row.name, source) for _, row, source in rows)
        self._sites = [site.id for site in program.sites]
        self._stacks = stacks_of_leaves(program)
        places, self._site_entries = numbered([site.shape for site in program.sites])
        shapes = [
            tuple(leaf.shape[axis] for axis in stack)
            for leaf, stack in zip(program.leaves, self._stacks, strict=True)
        ]
        leads, self._leaf_entries = numbered(shapes)
        self._value, self._delta, self._leaf = Pool(), Pool(), Pool()
        drawn: list[tuple[int, bytes]] = []
        self._sizes = np.zeros(len(rows))
        at = dict(zip(self._sites, places, strict=True))
        for number, (group, row, _) in enumerate(rows):
            live = [use for use in row.uses if use[0].live] or row.uses
            for pool, uses in ((self._value, row.uses), (self._delta, live)):
                for site, mask in uses:
                    pool.add(at[site.id][mask], number)
                    drawn.append((number, at[site.id][mask].tobytes()))
            main = _weight_of(program, group)
            own = np.atleast_1d(leads[main][row.index])
            self._leaf.add(own.ravel(), number)
            self._sizes[number] = program.leaves[main].size / leads[main].size * own.size
            drawn.append((number, own.tobytes()))
        for pool in (self._value, self._delta, self._leaf):
            pool.close(len(rows))
        entries = self._site_entries, self._leaf_entries
        self.key: Hashable = self.layers, entries, self._sizes.tobytes(), tuple(drawn)
        """Equal where a vector of one is read by the other."""

    def taken(
        self,
        number: int,
        forward: Mapping[int, Any],
        delta: Mapping[int, Any],
        leaves: Sequence[Sequence[Array]],
    ) -> Array:
        """Traceable: the vector; `number` is that of this layout, `leaves` are gradients and values."""
        sites = [forward[site] for site in self._sites] + [delta[site] for site in self._sites]
        of_leaves = self._leaf_parts(leaves)
        dtype = jnp.result_type(jnp.float32, *(each[SMALL.name] for each in sites), *of_leaves)
        counts = _joined([forward[site][COUNT.name] for site in self._sites], dtype)
        small, large = (_joined([each[which.name] for each in sites], dtype) for which in (SMALL, LARGE))
        first = jnp.full(1, number, dtype)
        return jnp.concatenate([first, counts, _roots(small, large), _joined(of_leaves, dtype)])

    def fits(self, length: int) -> bool:
        """Whether a vector of this length may be one of `taken` or `with_update`."""
        return length - 1 - 3 * self._site_entries in (2 * self._leaf_entries, 3 * self._leaf_entries)

    def with_update(self, vector: Array, after: Sequence[Array], changes: Sequence[Array]) -> Array:
        """Traceable: the vector of `taken` with the weights after a step, and what the step changed."""
        known = vector[: 1 + 3 * self._site_entries + self._leaf_entries]
        return jnp.concatenate([known, _joined(self._leaf_parts((after, changes)), vector.dtype)])

    def _leaf_parts(self, leaves: Sequence[Sequence[Array]]) -> list[Array]:
        return [
            _leaf_roots(value, stack)
            for values in leaves
            for value, stack in zip(values, self._stacks, strict=True)
        ]

    def read(self, vector: Floats) -> tuple[float, Floats]:
        """The norm of the whole gradient, and f64[4 or 5, layers]: NaN where a layer has no such value."""
        of_sites, of_leaves = np.split(vector[1:], [3 * self._site_entries])
        counts, *roots = of_sites.reshape(3, self._site_entries)
        sites, leaves = np.square(roots), np.square(of_leaves.reshape(-1, max(self._leaf_entries, 1)))
        norm = math.sqrt(leaves[0].sum())
        means = [
            mean(self._value.sum(sites[0]), self._value.sum(counts)),
            mean(self._delta.sum(sites[1]), self._delta.sum(counts)),
            *(mean(self._leaf.sum(row), self._sizes) for row in leaves),
        ]
        return norm if math.isfinite(norm) else math.inf, np.sqrt(np.stack(means))


def _leaf_roots(value: Array, stack: tuple[int, ...]) -> Array:
    """Of a large leaf, which has been written to memory anyway, at a gain of 1: one walk, and two more only
    where a sum says that squares have left the range."""

    def carefully(value: Array) -> Array:
        found = reduced(value, jnp.ones(()), (SMALL, LARGE), stack)
        return _roots(found[SMALL.name], found[LARGE.name])

    if value.size <= SMALL_LEAF:
        return carefully(value)
    plain = reduced(value, jnp.ones([value.shape[axis] for axis in stack]), (RMS,), stack)[RMS.name]
    usual = jnp.all((plain > LOWEST_MEAN * value.size) & jnp.isfinite(plain))
    found: Array = jax.lax.cond(usual, lambda _: jnp.sqrt(plain), carefully, value)
    return found


def _roots(small: Array, large: Array) -> Array:
    """The roots of square sums that were taken at both gains."""
    return jnp.where(jnp.isfinite(small), jnp.sqrt(small) / SMALL.gain, jnp.sqrt(large) / LARGE.gain)


def _joined(parts: Sequence[Array], dtype: Any) -> Array:
    return jnp.concatenate([jnp.ravel(part).astype(dtype) for part in parts] or [jnp.zeros(0, dtype)])


def _weight_of(program: Program, group: LayerGroup) -> int:
    """The largest leaf of a layer; of a scale and a bias of the same size, the one that multiplies."""

    def rank(leaf: int) -> tuple[int, int, bool]:
        about = program.leaves[leaf]
        own = about.name[len(about.parent) :].strip(".")
        return about.size, len(about.shape), own not in _BIASES

    return max(group.leaves, key=rank)

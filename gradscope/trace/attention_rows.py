"""What is measured of an attention where its weights meet the values: a sample of their rows, per head.

Rows are taken at even distances, so that a long sequence costs no more than a short one; the axis along which
a row is summed, and heads, are never cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jax import Array, lax

MOST = 2**16
"""Weights that are looked at; of a larger attention a `SHARE` of them."""
SHARE = 1 / 32
HIDDEN = 5000.0
BEYOND = 8.0
"""A score is hidden by a mask if it lies so far below 0, and below so many times the largest of all."""
SHARP = 0.95
"""Weight of a single key."""
TINY = 1e-37
NO_CHOICE = 0.05
"""Entropy of a row, over that of equal weights, below which it has hardly a second key."""


@dataclass(frozen=True, slots=True)
class AttentionAxes:
    """Which axis of the weights is what."""

    keys: tuple[int, ...]
    """Those that the product with the values sums over."""
    query: int | None
    heads: tuple[int, ...]
    masked: bool
    """Something was added to the scores, or chosen in their place."""
    scored: bool
    """The second operand of the probe are the scores, in the shape of the weights."""
    shape: tuple[int, ...]

    @property
    def head_count(self) -> int:
        return math.prod(self.shape[axis] for axis in self.heads)

    @property
    def paired(self) -> bool:
        """There are as many queries as keys, as where a sequence looks at itself."""
        return self.query is not None and [self.shape[axis] for axis in self.keys] == [self.shape[self.query]]

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the sample."""
        kept = {*self.keys, *self.heads}
        wanted = max(MOST, math.prod(self.shape) * SHARE)
        strides = [1] * len(self.shape)
        while math.prod(_taken(self.shape, strides)) > wanted:
            taken = _taken(self.shape, strides)
            free = [axis for axis in range(len(taken)) if axis not in kept and taken[axis] > 1]
            if not free:
                break
            strides[max(free, key=lambda axis: taken[axis])] *= 2
        return tuple(strides)


class AttentionRows(NamedTuple):
    """Sums over the sampled rows that have at least two keys, f[lead..., heads], and what else was seen."""

    rows: Any
    entropy: Any
    """Of the weights, over the logarithm of the number of keys that the mask leaves."""
    slope: Any
    """1 - the sum of the squared weights, over what that is of equal weights."""
    sharp: Any
    """Rows that give more than `SHARP` to one key."""
    decided: Any
    """Rows with an entropy below `NO_CHOICE`."""
    largest: Any
    """|score| of a key that is not hidden."""
    lowest: Any
    """Sum of a row."""
    highest: Any
    empty: Any
    """Rows all of whose keys are hidden, though others see the row's own place and not all see the same."""
    forward: Any
    """Rows that see a later place."""
    backward: Any
    """Rows that see an earlier place."""
    seen: Any
    """Rows of any kind."""


def no_rows(axes: AttentionAxes, lead: Sequence[int]) -> AttentionRows:
    zero = lax.full((*lead, axes.head_count), 0.0, np.float32)
    found = dict.fromkeys(AttentionRows._fields, zero)
    return AttentionRows(**found | {"lowest": zero + np.inf, "highest": zero - np.inf})


def attention_rows(axes: AttentionAxes, values: Sequence[Array]) -> AttentionRows:
    """Traceable: of the weights, and of the scores where they come with them."""
    weights = _arranged(axes, values[0])
    if weights.size == 0:
        return no_rows(axes, ())
    scores = _arranged(axes, values[1]) if axes.scored else None
    visible = _visible(axes, weights, scores)
    count = _sum(_number(visible))
    choice = lax.bitwise_and(lax.gt(count, _like(count, 1)), lax.is_finite(_sum(weights)))
    several = lax.max(count, _like(count, 2))
    logs = lax.log(lax.max(weights, _like(weights, TINY)))
    entropy = -_sum(weights * logs) / lax.log(several)
    slope = (1 - _sum(weights * weights)) / (1 - 1 / several)
    top, whole = _max(weights), _sum(weights)
    empty, forward, backward = _places(axes, visible)
    none = _like(weights, 0)
    largest = none if scores is None else lax.select(visible, lax.abs(scores), none)

    def over(rows: Array, of: Array = choice) -> Array:
        return lax.reduce_sum(lax.select(of, rows, _like(rows, 0)), (1, 2))

    return AttentionRows(
        rows=over(_like(count, 1)),
        entropy=over(entropy),
        slope=over(slope),
        sharp=over(_number(lax.gt(top, _like(top, SHARP)))),
        decided=over(_number(lax.lt(entropy, _like(entropy, NO_CHOICE)))),
        largest=lax.reduce_max(largest, (1, 2, 3)),
        lowest=lax.reduce_min(whole, (1, 2)),
        highest=lax.reduce_max(whole, (1, 2)),
        empty=lax.reduce_sum(empty, (1, 2)),
        forward=lax.reduce_sum(forward, (1, 2)),
        backward=lax.reduce_sum(backward, (1, 2)),
        seen=lax.reduce_sum(_like(count, 1), (1, 2)),
    )


def _taken(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    return [-(-size // stride) for size, stride in zip(shape, strides, strict=True)]


def _arranged(axes: AttentionAxes, value: Array) -> Array:
    """f32[heads, others, queries, keys] of the sample, the last query among them."""
    strides = axes.strides
    starts = [(size - 1) % stride for size, stride in zip(value.shape, strides, strict=True)]
    sample = lax.slice(lax.stop_gradient(value), starts, value.shape, strides)
    last = [*([] if axes.query is None else [axes.query]), *axes.keys]
    others = [axis for axis in range(value.ndim) if axis not in (*axes.heads, *last)]
    order = [*axes.heads, *others, *last]
    queries = 1 if axes.query is None else sample.shape[axes.query]
    keys = math.prod(sample.shape[axis] for axis in axes.keys)
    rest = math.prod(sample.shape[axis] for axis in others)
    sample = lax.reshape(lax.transpose(sample, order), (axes.head_count, rest, queries, keys))
    return lax.convert_element_type(sample, np.float32)


def _visible(axes: AttentionAxes, weights: Array, scores: Array | None) -> Array:
    if not axes.masked:
        return lax.full(weights.shape, True)
    if scores is None:
        return lax.gt(weights, _like(weights, 0))
    largest = lax.reduce_max(scores, (0, 1, 2, 3))
    hidden = -lax.max(BEYOND * largest, _like(largest, HIDDEN))
    return lax.gt(scores, lax.broadcast(hidden, scores.shape))


def _places(axes: AttentionAxes, visible: Array) -> tuple[Array, Array, Array]:
    """Rows, 0 or 1, that see nothing, something later, something earlier."""
    queries, keys = visible.shape[2:]
    none = lax.full(visible.shape[:3], 0.0, np.float32)
    if not (axes.paired and axes.masked and axes.scored) or axes.query is None:
        return none, none, none
    stride = axes.strides[axes.query]
    own = np.arange((keys - 1) % stride, keys, stride)
    assert len(own) == queries

    def seen(where: Any) -> Array:
        mask = lax.broadcast_in_dim(lax.convert_element_type(where, bool), visible.shape, (2, 3))
        return _max(_number(lax.bitwise_and(visible, mask)))

    places = np.arange(keys)
    later, earlier = seen(places > own[:, None]), seen(places < own[:, None])
    here = seen(places == own[:, None])
    anything = lax.max(lax.max(later, earlier), here)
    by_others = lax.reduce_max(_number(visible), (2,))
    own_is_seen = lax.slice(by_others, (0, 0, int(own[0])), by_others.shape, (1, 1, stride))
    nothing = lax.broadcast_in_dim(1 - anything, visible.shape, (0, 1, 2))
    by_all = lax.reduce_min(lax.max(_number(visible), nothing), (2,))
    # Where all see the same, queries are left out for themselves, and keys for themselves.
    differ = lax.reduce_max(lax.abs(by_others - by_all), (2,))
    empty = (1 - anything) * own_is_seen * lax.broadcast_in_dim(differ, anything.shape, (0, 1))
    return empty, later, earlier


def _sum(value: Array) -> Array:
    return lax.reduce_sum(value, (3,))


def _max(value: Array) -> Array:
    return lax.reduce_max(value, (3,))


def _number(value: Array) -> Array:
    return lax.convert_element_type(value, np.float32)


def _like(value: Array, number: float) -> Array:
    return lax.full_like(value, number)

"""The gradient of the rows of each replica, by itself: how far they agree, and how large their noise is.

The compiled program of the whole batch runs once for each replica, with its rows in the places of all others:
a mean over such rows is that of the replica, and statistics of a batch are those that it has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.measure.dealt_replicas import Dealing, NoReplicas, dealing_of
from gradscope.measure.flow import FlowPass
from gradscope.measure.gradient_noise import noise_of, signal_of
from gradscope.measure.layer_products import Floats, LayerProducts
from gradscope.records import ReplicaGradients, ReplicaLayer
from gradscope.trace.program import Inputs, Program

ROUNDING = 1e-2
"""Of the root mean square of the replicas' norms: so far the mean of their gradients may be from that of the
batch. It was 5e-8 in float32, 3e-4 in float16 and 2e-3 in bfloat16; batch normalization over 2 to 32 rows
moved it by 0.35 to 0.40, and a mean over nine tenths of the rows, others in each replica, by 0.01 to 0.11."""


def replica_gradients(
    program: Program, flow: FlowPass, inputs: Sequence[Inputs], batches: Sequence[Any]
) -> ReplicaGradients:
    """On those batches that have the shapes of the first; two backward passes for each replica of each.
    Raises `NoReplicas`."""
    dealing = dealing_of(program, inputs[0], batches[0])
    shapes = [np.shape(array) for array in inputs[0].others]
    alike = [each for each in inputs if [np.shape(array) for array in each.others] == shapes]
    products = LayerProducts(program)
    found = [_Batch(products, flow, each, dealing) for each in alike]
    averaged, count = all(each.apart <= ROUNDING for each in found), dealing.replicas
    of_mean = np.mean([each.of_mean for each in found], axis=0)
    squares = np.mean([each.squares.mean(axis=0) for each in found], axis=0)
    cosines = _mean([row for each in found for row in each.cosines])
    (cosine,) = _mean([row for each in found for row in each.whole])
    whole = noise_of(count, dealing.rows, float(of_mean.sum()), float(squares.sum()))
    return ReplicaGradients(
        axes=dealing.axes,
        replicas=count,
        rows=dealing.rows,
        batches=len(found),
        cosine=_number(cosine),
        layers=tuple(
            ReplicaLayer(
                name,
                _number(cosine),
                signal_of(count, float(mean), float(size)) if averaged and size > 0 else None,
            )
            for name, cosine, mean, size in zip(products.names, cosines, of_mean, squares, strict=True)
        ),
        apart=max(each.apart for each in found),
        averaged=averaged,
        drawn=averaged and any(each.drawn for each in found),
        noise=whole if averaged else None,
    )


class _Batch:
    """The replicas of one batch. Gradients are over the largest element of that of the whole batch, since
    squares of small ones would be 0."""

    def __init__(self, products: LayerProducts, flow: FlowPass, inputs: Inputs, dealing: Dealing) -> None:
        self._products, self._flow = products, flow
        count = dealing.replicas
        whole = flow.gradients(inputs)
        self._scale = 1 / _largest(whole)
        total: list[Any] = []
        squares = []
        for own in self._each(inputs, dealing.alone, count):
            squares.append(products(own, own))
            total = _plus(total, own)
        self.squares: Floats = np.array(squares)
        """(replicas, layers)"""
        if not np.isfinite(self.squares).all():
            raise NoReplicas("the gradient of the rows of one replica alone is not finite")
        self.of_mean: Floats = products(total, total) / count**2
        self.drawn = False
        self.apart = self._apart(total, [count * each for each in self._scaled(whole)])
        if self.apart > ROUNDING:
            moved: list[Any] = []
            for each in self._each(inputs, dealing.turned, count):
                moved = _plus(moved, each)
            apart = self._apart(total, moved)
            self.drawn, self.apart = apart <= ROUNDING, min(apart, self.apart)
        others, dots = [], []
        for own in self._each(inputs, dealing.alone, count):
            rest = _plus(total, own, -1.0)
            dots.append(products(own, rest))
            others.append(products(rest, rest))
        found = np.array(dots), self.squares, np.array(others)
        self.cosines: Floats = _cosines(*found)
        """(replicas, layers), with the mean of the others; NaN where one of both is 0."""
        self.whole: Floats = _cosines(*(each.sum(axis=1, keepdims=True) for each in found))
        """(replicas, 1), of all layers together."""

    def _each(self, inputs: Inputs, deal: Callable[[Inputs, int], Inputs], count: int) -> Iterator[list[Any]]:
        for replica in range(count):
            yield self._scaled(self._flow.gradients(deal(inputs, replica)))

    def _scaled(self, gradients: Sequence[Any]) -> list[Any]:
        return [each.astype(jnp.promote_types(each.dtype, jnp.float32)) * self._scale for each in gradients]

    def _apart(self, total: list[Any], other: list[Any]) -> float:
        """Of two sums over replicas, over the root mean square of the norms."""
        rest = _plus(total, other, -1.0)
        count, size = len(self.squares), float(np.sqrt(self._products(rest, rest).sum()))
        return size / count / float(np.sqrt(self.squares.sum(axis=1).mean()))


def _largest(gradients: Sequence[Any]) -> float:
    found = jax.device_get([jnp.max(jnp.abs(each), initial=0) for each in gradients])
    largest: float = max(map(float, found), default=0.0)
    if not np.isfinite(largest) or not largest:
        raise NoReplicas("the gradient is 0" if largest == 0 else "the gradient is not finite")
    return largest


def _plus(total: list[Any], own: list[Any], times: float = 1.0) -> list[Any]:
    return [a + times * b for a, b in zip(total, own, strict=True)] if total else own


def _cosines(dots: Floats, squares: Floats, others: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = dots / np.sqrt(squares * others)
    return found


def _mean(rows: Sequence[Floats]) -> Floats:
    """Of each column those that are numbers; NaN where none is."""
    values = np.array(rows)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

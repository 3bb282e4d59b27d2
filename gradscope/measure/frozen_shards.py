"""Parts of a parameter, each on devices of its own, that get no gradient although the loss depends on them.

A part that the batch does not use (rows of an embedding, an expert that gets no token) has no gradient
either: the loss stays as it is when that part moves. The gradient is taken at the weights of the problem and
around them, as zeros at a beginning and dead units come alive there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.records import FrozenShard
from gradscope.trace import jaxprs
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.domains.split_leaves import SplitLeaf, split_leaves
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of

MOVED = 0.1
"""Of the root mean square of a weight, or of 1 where that is 0: how far it is moved."""
AROUND = 2
"""Other weights at which the gradient is taken."""
ROUNDING = 1e-6
"""Of the loss: a sum in another order differs by less. The same program gives the same bits."""


def frozen_shards(program: Program, inputs: Sequence[Inputs]) -> Iterator[FrozenShard]:
    """On all batches of `inputs`; in the order of the program."""
    splits = split_leaves(program.body, len(program.leaves))
    if not splits:
        return
    run, first = jaxprs.compiled(program.body), inputs[0]

    def largest(weights: list[Array], others: list[Array]) -> list[Array]:
        gradient = jax.grad(lambda leaves: jnp.asarray(run(*leaves, *others)[0]))(weights)
        return [_largest(gradient[each.leaf], each) for each in splits]

    args = (first.weights, first.others)
    look = compile_program(largest, args, runs=len(inputs) + AROUND)
    places = [*inputs, *(replace(first, weights=_moved(first.weights, seed)) for seed in range(AROUND))]
    found = [look(each.weights, each.others) for each in places]
    loss: Compiled | None = None
    for each, values in zip(splits, zip(*found, strict=True), strict=True):
        parts = np.stack([np.asarray(value, np.float64) for value in values])
        frozen = tuple(map(int, np.flatnonzero((parts == 0).all(axis=0))))
        if not frozen or len(frozen) == each.parts or not np.isfinite(parts).all():
            continue
        loss = loss or compile_program(lambda weights, others: run(*weights, *others)[0], args, runs=2)
        now, then = (float(loss(weights, first.others)) for weights in _both(first.weights, each, frozen))
        if np.isfinite(then) and abs(then - now) > ROUNDING * max(abs(now), abs(then)):
            yield FrozenShard(
                parameter=program.leaves[each.leaf].name,
                source=source_of(each.eqn, each.calls),
                axes=each.axes,
                parts=each.parts,
                frozen=frozen,
                loss=now,
                moved=then,
            )


def _largest(gradient: Array, split: SplitLeaf) -> Array:
    """Of each part."""
    turned = jnp.moveaxis(gradient, split.dimension, 0)
    return jnp.max(jnp.abs(turned.reshape(split.parts, -1)), axis=1).astype(jnp.float32)


def _moved(weights: list[Any], seed: int) -> list[Any]:
    return [_noisy(weight, 1.0, seed + place) for place, weight in enumerate(weights)]


def _both(weights: list[Any], split: SplitLeaf, frozen: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    """The weights, and those with the frozen parts of the leaf moved."""
    leaf = weights[split.leaf]
    mask = np.repeat(np.isin(np.arange(split.parts), frozen), leaf.shape[split.dimension] // split.parts)
    shape = [1] * leaf.ndim
    shape[split.dimension] = -1
    return weights, [
        _noisy(weight, mask.reshape(shape).astype(np.float32), 0) if place == split.leaf else weight
        for place, weight in enumerate(weights)
    ]


def _noisy(weight: Any, mask: Any, seed: int) -> Any:
    """With random numbers added where `mask` is 1; where it lies."""
    noise = np.random.default_rng(seed).normal(size=weight.shape).astype(np.float32) * mask
    rms = jnp.sqrt(jnp.mean(jnp.square(weight.astype(jnp.float32))))
    moved = weight + (MOVED * jnp.where(rms > 0, rms, 1.0) * noise).astype(weight.dtype)
    return jax.device_put(moved, weight.sharding) if isinstance(weight, jax.Array) else moved

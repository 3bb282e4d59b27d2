"""Counts NaNs and infinities, leaf by leaf: run only where the flow pass saw one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.measure.flow import FlowPass, Sample
from gradscope.measure.leaf_statistics import rows_first, stacks_of_leaves
from gradscope.measure.readings import Reading
from gradscope.records import NonFiniteInput
from gradscope.trace.leaves import path_name
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import MAX, Floats


def seen(sample: Sample) -> bool:
    """The loss, a layer's output, a δ or a gradient is not finite."""
    values = [*sample.forward.values(), *sample.delta.values(), *sample.gradients]
    return not np.isfinite(sample.loss) or any(not np.isfinite(v[MAX]).all() for v in values)


def harmful(sample: Sample) -> bool:
    """It reaches the loss or a gradient; what does not was masked on purpose."""
    return not np.isfinite(sample.loss) or any(not np.isfinite(g[MAX]).all() for g in sample.gradients)


def in_weights(weights: Sequence[Any], readings: Sequence[Reading]) -> list[int]:
    return [
        0 if np.isfinite(found[MAX]).all() else count(weight)
        for weight, found in zip(weights, readings, strict=True)
    ]


def in_batch(batch: Any) -> tuple[NonFiniteInput, ...]:
    """The leaves of a batch that hold a NaN or an infinity."""
    found = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(batch)[0]:
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact) and (bad := count(leaf)):
            found.append(NonFiniteInput(path_name(path) or "batch", bad, int(leaf.size)))
    return tuple(found)


def in_gradients(program: Program, flow: FlowPass, inputs: Inputs) -> list[Floats]:
    """By leaf: elements of the gradient that are not finite; one number per row of a stacked leaf."""
    stacks = stacks_of_leaves(program)

    def counted(leaf: int, gradient: Array) -> Array:
        bad = rows_first(~jnp.isfinite(gradient), stacks[leaf])
        return jnp.sum(bad, axis=tuple(range(len(stacks[leaf]), bad.ndim)))

    return [np.asarray(counts, np.float64) for counts in jax.device_get(flow.gradients(inputs, counted))]


def count(value: Any) -> int:
    """Elements that are NaN or infinite; a device array is reduced where it lies."""
    if isinstance(value, jax.Array):
        return int(jnp.sum(~jnp.isfinite(value)))
    return int(np.sum(~np.isfinite(np.asarray(value))))

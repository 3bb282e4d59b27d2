"""Looks a few optimizer steps ahead: is a gradient of exactly zero alive by then?

Everything below a zero-initialised head or a zero residual gain has a zero gradient at first and is
alive one step later, by construction. Only where a zero is seen is this program compiled and run.

The steps are Adam's, whatever the user's optimizer: every weight that has a gradient moves by the same
1e-3 (Kingma and Ba 2015, their default), while a warm-up may begin at a learning rate of zero.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.measure.flow import FlowPass, Sample
from gradscope.measure.leaf_statistics import rows_first, stacks_of_leaves
from gradscope.records import Connection
from gradscope.trace.layers import Mask
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import MAX

STEPS = 3
"""A zero gain on a branch below a zero head needs two steps to come alive; one more is kept in hand."""


def zero_leaves(program: Program, samples: list[Sample]) -> dict[int, Mask]:
    """Leaves that are connected to the loss and whose gradient is exactly zero on every batch: which rows."""
    found = {
        leaf: np.all([sample.gradients[leaf][MAX] == 0 for sample in samples], axis=0)
        for leaf, about in enumerate(program.leaves)
        if program.connections[leaf] is Connection.CONNECTED and about.size
    }
    return {leaf: rows for leaf, rows in found.items() if rows.any()}


def nonzero_after_steps(
    program: Program, flow: FlowPass, inputs: Inputs, zeros: dict[int, Mask]
) -> dict[int, Mask]:
    """For each of these rows: does its gradient become non-zero within `STEPS` steps on the same batch?

    A gradient that is not finite is no sign of life.
    """
    import optax  # here, because few runs need it and it takes 80 ms to import

    found = {leaf: ~rows for leaf, rows in zeros.items()}
    stacks = stacks_of_leaves(program)
    adam = optax.adam(1e-3)

    @jax.jit
    def step(weight: Array, state: Any, gradient: Array) -> tuple[Array, Any]:
        wide = jnp.promote_types(weight.dtype, jnp.float32)  # Adam's epsilon is zero in float16
        update, state = adam.update(gradient.astype(wide), state)
        return (weight.astype(wide) + update).astype(weight.dtype), state

    def alive_rows(leaf: int, gradient: Array) -> Mask:
        stack = stacks[leaf]
        alive = rows_first((gradient != 0) & jnp.isfinite(gradient), stack)
        return np.asarray(alive.any(axis=tuple(range(len(stack), alive.ndim))))

    weights = [jnp.asarray(weight) for weight in inputs.weights]
    states = [adam.init(weight.astype(jnp.promote_types(weight.dtype, jnp.float32))) for weight in weights]
    gradients = flow.gradients(inputs)
    for _ in range(STEPS):
        moved = [step(*each) for each in zip(weights, states, gradients, strict=True)]
        weights, states = [weight for weight, _ in moved], [state for _, state in moved]
        gradients = flow.gradients(replace(inputs, weights=weights))
        for leaf in zeros:
            found[leaf] = found[leaf] | alive_rows(leaf, gradients[leaf])
        if all(alive.all() for alive in found.values()):
            break
    return found

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
import numpy as np
from jax import Array

from gradscope.measure.flow import FlowPass, Sample
from gradscope.records import Connection
from gradscope.trace.compiling import compile_program
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
    """For each of these rows: does its gradient become non-zero within `STEPS` steps on the same batch?"""
    import optax  # here, because few runs need it and it takes 80 ms to import

    found = {leaf: ~rows for leaf, rows in zeros.items()}
    adam = optax.adam(1e-3)
    weights = [jax.numpy.asarray(weight) for weight in inputs.weights]
    state = adam.init(weights)
    consts = list(program.body.consts)

    def step(weights: list[Array], state: Any, others: list[Array], consts: list[Array]) -> Any:
        gradients = jax.grad(program.loss)(weights, others, consts)
        updates, state = adam.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    run = compile_program(step, (weights, state, inputs.others, consts), runs=STEPS)
    for _ in range(STEPS):
        weights, state = run(weights, state, inputs.others, consts)
        sample = flow(replace(inputs, weights=weights))
        for leaf in zeros:
            found[leaf] = found[leaf] | (sample.gradients[leaf][MAX] != 0)
        if all(rows.all() for rows in found.values()):
            break
    return found

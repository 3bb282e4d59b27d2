"""Optimizers that hold every matrix of what looks like a new network and move its vectors alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optax

from gradscope.records import HeldMatrices, ShortTraining, TriedVariant
from gradscope.training.how_many import steps_of_trial
from gradscope.training.optimizer import USUAL_RATE
from gradscope.training.trainer import Trainer

FEWEST = 2
"""Matrices, and vectors: one number may be what a given model is adjusted by, as a temperature."""


def held_matrices(made: Trainer, record: ShortTraining) -> HeldMatrices | None:
    """Tried where all that moves are vectors, and all vectors begin as constants, as the biases and scales of
    a new network do: trained ones are not. Adam moves the vectors alone, and then everything."""
    program = made.flow.program
    if not record.own or record.restored or made.searches:
        return None
    ranks = {leaf.name: len(leaf.shape) for leaf in program.leaves}
    alive = [leaf for leaf in record.leaves if leaf.gradient]
    held = [leaf.name for leaf in alive if not leaf.moved]
    moved = [leaf.name for leaf in alive if leaf.moved]
    matrices = [name for name in held if ranks[name] > 1]
    if min(len(matrices), len(moved)) < FEWEST or any(ranks[name] > 1 for name in moved):
        return None
    starts = {leaf.name: weight for leaf, weight in zip(program.leaves, made.weights, strict=True)}
    vectors = [starts[name] for name, rank in ranks.items() if rank < 2]
    if not all(map(_is_constant, vectors)) or all(np.size(starts[name]) < 2 for name in moved):
        return None
    count = steps_of_trial(program, record.steps)
    if count is None:
        return None
    adam = optax.adam(USUAL_RATE)
    without = optax.chain(adam, optax.masked(optax.set_to_zero(), _are_matrices))
    alone, every = (_trained(made, each, count) for each in (without, adam))
    batches = made.feed.used(count)
    start = made.mean_loss(made.weights, batches)[0]
    ends = [made.mean_loss(weights, batches)[0] for weights in (alone, every)]
    tried = TriedVariant(count, start, ends[0], start, ends[1])
    return HeldMatrices(tuple(matrices), tuple(moved), USUAL_RATE, tried)


def _is_constant(leaf: Any) -> bool:
    values = np.asarray(jax.device_get(leaf)).ravel()
    return values.size > 0 and bool((values == values[0]).all())


def _are_matrices(updates: Any) -> Any:
    return jax.tree.map(lambda each: np.ndim(each) > 1, updates)


def _trained(made: Trainer, transform: optax.GradientTransformation, steps: int) -> list[Any]:
    rule = replace(made.rule, transform=transform)
    return Trainer(made.flow, rule, made.feed, made.weights).run(steps).weights

"""The same steps with arrays of the batch standardized whose numbers are far from 0 and 1."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp

from gradscope.records import StandardizedArray
from gradscope.trace.program import Inputs, Program
from gradscope.training.how_many import steps_of_trial
from gradscope.training.scales import odd_arrays
from gradscope.training.trainer import Modification, Trainer

MOST_ARRAYS = 3


def standardized_arrays(
    made: Trainer, program: Program, first: Inputs, steps: int
) -> Iterator[StandardizedArray]:
    """The same steps, and more of them, with each odd array of the batches standardized."""
    count = steps_of_trial(program, steps)
    if count is None:
        return
    batches = made.feed.used(count)
    for odd in itertools.islice(odd_arrays(program, made.feed.drawn, first), MOST_ARRAYS):
        run = made.run(count, Modification(standardized=odd))
        end_without = made.mean_loss(made.unchanged(count), batches)[0]
        end = made.mean_loss(run.weights, batches, odd)[0]
        yield StandardizedArray(
            name=odd.name,
            is_input=odd.is_input,
            rms=odd.rms,
            off_center=odd.off_center,
            uneven=odd.uneven,
            steps=count,
            start_without=made.mean_loss(made.weights, batches)[0],
            end_without=end_without,
            start=made.mean_loss(made.weights, batches, odd)[0],
            end=end,
            fills=odd.fills,
            revived=_revived(made, program, run.gradients, count) if end < end_without else (),
        )


def _revived(made: Trainer, program: Program, others: Sequence[Any], steps: int) -> tuple[str, ...]:
    """The leaves whose gradients of the first batch are all zero after the steps, and not all of `others`."""
    own = made.flow.gradients(made.feed.at(0, made.unchanged(steps)))
    found = zip(program.leaves, own, others, strict=True)
    return tuple(leaf.name for leaf, zero, other in found if not jnp.any(zero) and jnp.any(other))

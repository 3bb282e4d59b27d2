"""Whether the arrays of a training step fit beside what is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.trace.compiling import free_memory
from gradscope.training.optimizer import StepRule

COPIES = 5
"""Arrays of the size of the params, besides the state: weights before and after, gradients at the start and
now, updates."""
PART = 0.5
"""Of the free memory, that a step may take."""


class TooLarge(Exception):
    """The arrays of a training step do not fit."""


def has_room(weights: Sequence[Any]) -> bool:
    """For a step, whatever the optimizer keeps."""
    free = free_memory()
    return free is None or COPIES * _bytes(weights) <= PART * free


def require_room(rule: StepRule, weights: Sequence[Any]) -> None:
    """Raises `TooLarge`."""
    state = jax.eval_shape(rule.fresh, list(weights))
    kept = sum(math.prod(each.shape) * each.dtype.itemsize for each in jax.tree.leaves(state))
    needed, free = COPIES * _bytes(weights) + 2 * kept, free_memory()
    if free is not None and needed > PART * free:
        raise TooLarge(
            f"a step of the optimizer takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
        )


def _bytes(weights: Sequence[Any]) -> int:
    return sum(int(np.size(leaf)) * jnp.result_type(leaf).itemsize for leaf in weights)

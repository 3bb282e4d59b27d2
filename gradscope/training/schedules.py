"""Schedules in the wrong unit: one that ends within the first steps, and one that warms up without an end."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import DecayedRate, WarmUp
from gradscope.records.training import GROWING
from gradscope.training import step_numbers
from gradscope.training.trainer import Modification, Trainer, Trajectory, largest_of
from gradscope.training.trials import LONGER, USUAL_STEPS

SIGN = 0.2
"""Of the largest update of the short training: where the last one is below it, its schedule is looked at. For
equal gradients Adagrad is above it after 20 steps, as 1/√20."""
ENDED = 0.01
"""Of the largest update for equal gradients: below it the rate has come to its end. Adagrad is there after
10,000 steps."""
COUNTS = tuple(10**power for power in range(2, 9))


def decayed_rate(made: Trainer, run: Trajectory, batches: int) -> DecayedRate | None:
    """`None` where the updates for equal gradients do not end within the steps of a longer training, or where
    no counter of the optimizer's state makes them."""
    sizes = run.leaves[:, :, step_numbers.UPDATE_MAX].max(axis=1, initial=0.0)
    if (
        made.restored
        or len(sizes) < USUAL_STEPS
        or not np.isfinite(sizes).all()
        or not sizes[-1] < SIGN * sizes.max()
    ):
        return None
    steps = LONGER * len(sizes)
    fresh = made.fresh(made.weights)
    alone = made.alone(run, fresh, steps)
    if not np.isfinite(alone).all() or not alone.max() > 0:
        return None
    above = np.flatnonzero(alone >= ENDED * alone.max())
    highest, ended = int(np.argmax(alone)), int(above[-1]) + 1
    if ended == steps:
        return None
    counters = _counters(made, run, fresh, highest, ended)
    if not counters:
        return None
    held = made.run(steps, Modification(held=(highest, counters)))
    return DecayedRate(
        highest=highest + 1,
        ended=ended + 1,
        steps=steps,
        start=made.mean_loss(made.weights, batches)[0],
        end=made.mean_loss(made.unchanged(steps), batches)[0],
        end_held=made.mean_loss(held.weights, batches)[0],
    )


def warm_up(made: Trainer, run: Trajectory, growth: float | None) -> WarmUp | None:
    """Where updates still grow: how large they are with the counters of the optimizer's state set to
    powers of ten, for one and the same gradient. `None` where the state counts nothing."""
    if growth is None or growth < GROWING:
        return None
    leaves, structure = jax.tree.flatten(run.state)
    counting = [i for i, leaf in enumerate(leaves) if _is_counter(leaf)]
    if not counting:
        return None
    sizes = []
    for count in COUNTS:
        set_to = [jnp.full_like(leaf, count) if i in counting else leaf for i, leaf in enumerate(leaves)]
        sizes.append(_size(made, run, jax.tree.unflatten(structure, set_to)))
    return WarmUp(COUNTS, tuple(sizes)) if np.isfinite(sizes).all() and max(sizes) > 0 else None


def _is_counter(leaf: Any) -> bool:
    return leaf.ndim == 0 and jnp.issubdtype(leaf.dtype, jnp.integer) and leaf.dtype.itemsize >= 4


def _size(made: Trainer, run: Trajectory, state: Any) -> float:
    """The largest element of the updates from a state."""
    updates, _ = made.asked(run.weights, run.gradients, state, run.loss)
    return float(largest_of(updates))


def _counters(made: Trainer, run: Trajectory, fresh: Any, highest: int, ended: int) -> tuple[int, ...]:
    """Places among the leaves of the state: integers that make the update large again when they are set back
    to where it was largest."""
    largest, late = (_state_after(made, run, fresh, steps) for steps in (highest, ended))
    leaves, structure = jax.tree.flatten(late)
    before: list[Any] = jax.tree.leaves(largest)

    def size(values: list[Any]) -> float:
        return _size(made, run, jax.tree.unflatten(structure, values))

    full = size(before)
    counting = [i for i, leaf in enumerate(leaves) if _is_counter(leaf)]
    return tuple(i for i in counting if size([*leaves[:i], before[i], *leaves[i + 1 :]]) > full / 2)


def _state_after(made: Trainer, run: Trajectory, state: Any, steps: int) -> Any:
    for _ in range(steps):
        _, state = made.asked(run.weights, run.gradients, state, run.loss)
    return state

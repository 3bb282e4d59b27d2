"""What an optimizer does to each layer: the size of its update and its angle to the negative gradient, at the
start and at the end of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.measure.measurement import rows_of
from gradscope.optimizers.engines import TrainingRun
from gradscope.optimizers.lattice import TrialSetting
from gradscope.optimizers.training import Training, Weights, gradient
from gradscope.records import LayerUpdate
from gradscope.trace.compiling import compile_program
from gradscope.trace.layers import LayerGroup
from gradscope.trace.spread import started

Numbers = np.ndarray[Any, np.dtype[np.float64]]
"""f64[layers, 3]: rms of the update, of the weights, cosine of update and negative gradient."""


@dataclass
class UpdateProbe:
    """Measures the update that an optimizer would make on the first batch of a seed.

    The learning rate is that of the setting, without the factor of the schedule: at the first step of a
    warm-up and after the last of a decay that is 0.
    """

    training: Training
    first: list[Numbers] = field(default_factory=list)
    last: list[Numbers] = field(default_factory=list)
    """One entry for each seed."""

    def __post_init__(self) -> None:
        training = self.training
        if training.schedule is not None:
            training = replace(training, schedule=lambda _: 1.0)
        groups = list({id(group): group for group, _, _ in rows_of(training.program)}.values())
        self._names = [row.name for _, row, _ in rows_of(training.program)]
        self._places = [
            (groups.index(group), int(np.ravel_multi_index(row.index, group.stack)) if group.stack else 0)
            for group, row, _ in rows_of(training.program)
        ]
        self._consts = list(training.program.body.consts)

        def measured(
            weights: Weights, state: Any, setting: TrialSetting, others: list[Array], consts: list[Array]
        ) -> list[Array]:
            loss, gradients = gradient(training.program)(weights, others, consts)
            updates, _ = training.direction(weights, state, setting, loss, gradients, others, consts)
            return [_numbers(group, updates, gradients, weights) for group in groups]

        feed, setting = training.feed, training.candidate.any_setting
        self._start = started(training.start, (feed.weights, setting))
        state = self._start(feed.weights, setting)
        args = (feed.weights, state, setting, feed.opening, self._consts)
        self._run = compile_program(measured, args, runs=len(groups))
        self.compiled = 2

    def take(self, run: TrainingRun) -> None:
        """Of a run that has come to its end, and still has its weights."""
        begun = self._start(run.feed.weights, run.setting)
        self.first.append(self._measure(run.feed.weights, begun, run))
        self.last.append(self._measure(run.weights, run.state, run))

    def _measure(self, weights: Weights, state: Any, run: TrainingRun) -> Numbers:
        found = self._run(weights, state, run.setting, run.feed.opening, self._consts)
        rows = [np.asarray(group, np.float64) for group in found]
        return np.stack([rows[group][place] for group, place in self._places])

    def layers(self) -> tuple[LayerUpdate, ...]:
        """Medians over the seeds, in the order of execution; none where no run came to its end."""
        if not self.first:
            return ()
        first, last = (np.median(np.stack(each), axis=0) for each in (self.first, self.last))
        return tuple(
            LayerUpdate(
                name,
                *(_known(first[row, 0]), _known(last[row, 0])),
                *(_ratio(first[row]), _ratio(last[row])),
                *(_known(first[row, 2]), _known(last[row, 2])),
            )
            for row, name in enumerate(self._names)
        )


def _known(number: float) -> float | None:
    return None if math.isnan(number) else float(number)


def _ratio(row: Numbers) -> float | None:
    return float(row[0] / row[1]) if row[1] > 0 else None


def _numbers(
    group: LayerGroup, updates: Sequence[Array], gradients: Sequence[Array], weights: Sequence[Array]
) -> Array:
    """f32[layers of the group, 3], as in `Numbers`; the cosine is NaN where one of the two is zero."""
    update, slope, weight = (_rows(group, each) for each in (updates, gradients, weights))
    sizes = [_size(each) for each in (update, slope, weight)]
    # Divided by their largest element first: squares of small gradients vanish in float32.
    inner = jnp.sum((update / _largest(update)) * (slope / _largest(slope)), axis=1)
    lengths = (sizes[0] / _largest(update)[:, 0]) * (sizes[1] / _largest(slope)[:, 0]) * update.shape[1]
    return jnp.stack([sizes[0], sizes[2], -inner / lengths], axis=1)


def _rows(group: LayerGroup, leaves: Sequence[Array]) -> Array:
    """[layers, elements] of the group's leaves."""
    rows = []
    for number, axes in zip(group.leaves, group.axes, strict=True):
        leaf = leaves[number].astype(jnp.promote_types(leaves[number].dtype, jnp.float32))
        rows.append(jnp.moveaxis(leaf, axes, range(len(axes))).reshape(math.prod(group.stack), -1))
    return jnp.concatenate(rows, axis=1)


def _largest(rows: Array) -> Array:
    """[layers, 1]; 1 where all are zero."""
    found = jnp.max(jnp.abs(rows), axis=1, keepdims=True)
    return jnp.where(found > 0, found, 1.0)


def _size(rows: Array) -> Array:
    """Root mean square of each row."""
    largest = _largest(rows)
    return jnp.sqrt(jnp.mean((rows / largest) ** 2, axis=1)) * largest[:, 0]

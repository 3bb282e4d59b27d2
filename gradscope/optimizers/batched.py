"""All runs of one optimizer in one program: `vmap` of the looped steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.optimizers.budget import UNLIMITED, Budget
from gradscope.optimizers.engines import CHUNK, MANY, TrainingRun, chunk_of
from gradscope.optimizers.feed import BatchTable, Feed
from gradscope.optimizers.training import Training
from gradscope.trace.compiling import compile_program


class Batched:
    """Trains as many runs at once as it has lanes; fewer are padded with copies of the last."""

    def __init__(
        self,
        training: Training,
        feeds: Sequence[Feed],
        table: BatchTable,
        lanes: int,
        budget: Budget = UNLIMITED,
    ) -> None:
        self._table, self._lanes, self._budget = table, lanes, budget
        self._seeds = {id(feed): place for place, feed in enumerate(feeds)}
        self._consts = list(training.program.body.consts)

        def start(weights: Any, setting: Any) -> Any:
            return weights, training.start(weights, setting)

        weights = self._stacked([training.feed.weights])
        settings = self._stacked([training.candidate.any_setting])
        self._start = compile_program(jax.vmap(start), (weights, settings), runs=1)
        self._run = compile_program(
            jax.vmap(chunk_of(training), (0, 0, 0, None, 0, None, None)),
            (*self._start(weights, settings), settings, *self._arguments([0], 0, CHUNK)),
            runs=MANY,
            donate=(0, 1),
        )
        self.compiled = 2
        self.step_seconds: list[float] = []

    def _stacked(self, lanes: Sequence[Any]) -> Any:
        whole = [*lanes, *[lanes[-1]] * (self._lanes - len(lanes))]
        return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *whole)

    def _arguments(self, seeds: Sequence[int], first: int, count: int) -> tuple[Any, ...]:
        places = self._table.chunk(first, CHUNK)[[*seeds, *[seeds[-1]] * (self._lanes - len(seeds))]]
        return self._table.columns, places, count, self._consts

    def advance(self, runs: Sequence[TrainingRun], steps: int) -> None:
        """Runs that stopped at the same step go on together."""
        for done in dict.fromkeys(_done(run) for run in runs):
            mine = [run for run in runs if _done(run) == done]
            for first in range(0, len(mine), self._lanes):
                self._advance(mine[first : first + self._lanes], done, steps)

    def _advance(self, runs: Sequence[TrainingRun], done: int, steps: int) -> None:
        settings = self._stacked([run.setting for run in runs])
        if done:
            weights, state = self._stacked([(run.weights, run.state) for run in runs])
        else:
            weights, state = self._start(self._stacked([run.feed.weights for run in runs]), settings)
        seeds = [self._seeds[id(run.feed)] for run in runs]
        curves: list[Any] = []
        for first in range(done, steps, CHUNK):
            count = min(CHUNK, steps - first)
            if self.step_seconds:
                self._budget.require(count * self._lanes * self.step_seconds[-1])
            arguments = self._arguments(seeds, first, count)
            begun = time.perf_counter()
            weights, state, losses = self._run(weights, state, settings, *arguments)
            curves.append(np.asarray(losses, np.float64)[..., :count])
            self.step_seconds.append((time.perf_counter() - begun) / (count * self._lanes))
        if not curves:
            return
        found = np.concatenate(curves, axis=-1)
        for lane, run in enumerate(runs):
            run.losses = [*run.losses[:done], *found[lane].tolist()]
            run.weights, run.state = jax.tree.map(lambda leaf, lane=lane: leaf[lane], (weights, state))


def _done(run: TrainingRun) -> int:
    """Steps that it has made; none where its weights were freed: then it starts again."""
    return 0 if run.weights is None else len(run.losses)

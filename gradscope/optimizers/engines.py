"""Three ways to run the same training steps; none compiles again for another learning rate or decay.

Step by step, the gradient is compiled once for all optimizers. On a CPU many steps of a small network are
fastest inside a loop on the device, with convolutions they are six times slower there, and `vmap` over runs
is faster below about 5,000 parameters only. The measurements are in `docs/compare-optimizers.md`; `vmap` on
an accelerator was not measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gradscope.load.usercode.user_code import as_gradscope_error
from gradscope.optimizers.budget import UNLIMITED, Budget
from gradscope.optimizers.feed import BatchTable, Feed
from gradscope.optimizers.lattice import TrialSetting
from gradscope.optimizers.training import Training, gradient, line_search_evaluations
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.program import Program
from gradscope.trace.spread import placed_as, started

CHUNK = 20
"""Steps between two reads of the losses: a read waits for the device."""
MANY = 10_000
"""The number of runs for which a training step is compiled, as `compile_program` weighs it."""


@dataclass
class TrainingRun:
    """The state of training one optimizer at one setting from one seed."""

    setting: TrialSetting
    feed: Feed
    losses: list[float] = field(default_factory=list)
    weights: Any = None
    """`None` before the first step, and after they were freed to save memory: then the run starts again."""
    state: Any = None
    line_searches: list[float] = field(default_factory=list)
    validation: float | None = None
    """Loss on the validation batch after the last step; infinite for a run whose loss is not finite."""

    def first_nonfinite(self) -> int | None:
        """The first step whose loss is not finite."""
        return next((step for step, loss in enumerate(self.losses) if not np.isfinite(loss)), None)

    def forget(self) -> None:
        self.weights = self.state = None


class Engine(Protocol):
    compiled: int
    """Programs compiled so far."""
    step_seconds: list[float]
    """Time per step of one run, for each chunk [s]."""

    def advance(self, runs: Sequence[TrainingRun], steps: int) -> None:
        """Train every run whose loss is finite up to `steps` steps in total."""
        ...


class OneByOne:
    """Trains one run after the other."""

    def __init__(self, training: Training, budget: Budget = UNLIMITED) -> None:
        self._budget = budget
        weights = training.feed.weights
        self._any = training.candidate.any_setting
        self._consts = list(training.program.body.consts)
        self._start = started(training.start, (weights, self._any))
        self.compiled = 1
        self.step_seconds: list[float] = []

    def advance(self, runs: Sequence[TrainingRun], steps: int) -> None:
        for run in runs:
            if run.weights is None:
                run.losses.clear()
                run.weights = jax.tree.map(jnp.copy, run.feed.weights)
                run.state = jax.tree.map(jnp.copy, self._start(run.feed.weights, run.setting))
            try:
                self._advance(run, steps)
            except jax.errors.JaxRuntimeError as error:
                raise as_gradscope_error(error, "training") from error

    def _advance(self, run: TrainingRun, steps: int) -> None:
        raise NotImplementedError

    def _require_time(self) -> None:
        """Before each chunk; the first of an optimizer is begun in any case."""
        if self.step_seconds:
            self._budget.require(CHUNK * min(self.step_seconds[-2:]))

    def _record(self, run: TrainingRun, losses: Sequence[float], begun: float) -> None:
        run.losses.extend(losses)
        self.step_seconds.append((time.perf_counter() - begun) / len(losses))
        run.line_searches.append(line_search_evaluations(run.state))


class Stepwise(OneByOne):
    """Two programs that are called from Python: the gradient and the optimizer's update."""

    def __init__(
        self, training: Training, shared: Compiled | None = None, budget: Budget = UNLIMITED
    ) -> None:
        """`shared`: the result of `compiled_gradient`, if it is compiled already."""
        super().__init__(training, budget)
        self._gradient = shared or compiled_gradient(training.program, training.feed)
        weights, others = training.feed.weights, training.feed.opening
        loss, gradients = self._gradient(weights, others, self._consts)
        state = self._start(weights, self._any)
        args = (weights, state, self._any, loss, gradients, others, self._consts)
        self._update = compile_program(training.update, args, runs=MANY, donate=(0, 1))
        self.compiled += 1 + (shared is None)

    def _advance(self, run: TrainingRun, steps: int) -> None:
        waiting: list[Array] = []
        begun = time.perf_counter()
        for others in run.feed.steps(steps, len(run.losses)):
            if not waiting:
                if run.first_nonfinite() is not None:
                    return
                self._require_time()
            loss, gradients = self._gradient.run(run.weights, others, self._consts)
            run.weights, run.state = self._update.run(
                run.weights, run.state, run.setting, loss, gradients, others, self._consts
            )
            waiting.append(loss)
            if len(waiting) == CHUNK:
                self._record(run, [float(loss) for loss in jax.device_get(waiting)], begun)
                waiting, begun = [], time.perf_counter()
        if waiting:
            self._record(run, [float(loss) for loss in jax.device_get(waiting)], begun)


def compiled_gradient(program: Program, feed: Feed) -> Compiled:
    args = (feed.weights, feed.opening, list(program.body.consts))
    run = gradient(program)

    def placed(weights: Any, others: Any, consts: Any) -> Any:
        loss, gradients = run(weights, others, consts)
        return loss, placed_as(gradients, feed.weights)

    return compile_program(placed, args, runs=MANY)


class Looped(OneByOne):
    """Up to `CHUNK` steps in one loop on the device, without Python between two steps."""

    def __init__(
        self,
        training: Training,
        feeds: Sequence[Feed],
        table: BatchTable,
        budget: Budget = UNLIMITED,
    ) -> None:
        super().__init__(training, budget)
        self._table = table
        self._seeds = {id(feed): place for place, feed in enumerate(feeds)}
        weights, places = training.feed.weights, table.chunk(0, CHUNK)[0]
        state = self._start(weights, self._any)
        args = (weights, state, self._any, table.columns, places, CHUNK, self._consts)
        self._run = compile_program(chunk_of(training), args, runs=MANY, donate=(0, 1))
        self.compiled += 1

    def _advance(self, run: TrainingRun, steps: int) -> None:
        while len(run.losses) < steps and run.first_nonfinite() is None:
            self._require_time()
            done = len(run.losses)
            places = self._table.chunk(done, CHUNK)[self._seeds[id(run.feed)]]
            count = min(CHUNK, steps - done)
            begun = time.perf_counter()
            run.weights, run.state, losses = self._run.run(
                run.weights, run.state, run.setting, self._table.columns, places, count, self._consts
            )
            self._record(run, np.asarray(losses, np.float64)[:count].tolist(), begun)


def chunk_of(training: Training) -> Any:
    """`count` training steps of one run, on the arguments at `places` i32[CHUNK, arguments] in `columns`."""

    def run(
        weights: Any,
        state: Any,
        setting: TrialSetting,
        columns: list[Array],
        places: Array,
        count: Any,
        consts: list[Array],
    ) -> tuple[Any, Any, Array]:
        def others_at(step: Any) -> list[Array]:
            return [column[places[step, argument]] for argument, column in enumerate(columns)]

        def step(number: Any, carry: Any) -> Any:
            weights, state, losses = carry
            weights, state, loss = training.step(weights, state, setting, others_at(number), consts)
            return weights, state, losses.at[number].set(loss)

        loss = jax.eval_shape(training.step, weights, state, setting, others_at(0), consts)[2]
        return lax.fori_loop(0, count, step, (weights, state, jnp.zeros(CHUNK, loss.dtype)))  # type: ignore[no-any-return]

    return run

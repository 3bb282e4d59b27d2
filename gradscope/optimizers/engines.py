"""Three ways to run the same training steps; each compiles once per optimizer, never per learning rate.

On a CPU the steps of a small network are quickest inside one `scan`, with convolutions they are six times
slower there than one by one, and `vmap` over runs pays below about 5,000 parameters only; on an accelerator
batching is the way. Measured in `docs/compare-optimizers.md`.
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

from gradscope.load.user_code import as_gradscope_error
from gradscope.measure.compiling import Compiled, compile_program
from gradscope.optimizers.feed import Feed
from gradscope.optimizers.training import Training, line_search_evaluations

CHUNK = 20
"""Steps between two looks at the losses: a look waits for the device."""
MANY = 10_000
"""Runs that a training step is compiled for."""


@dataclass
class Run:
    """One optimizer at one learning rate from one seed, as far as it has come."""

    rate: float
    feed: Feed
    losses: list[float] = field(default_factory=list)
    weights: Any = None
    """`None` before the first step, and where it was let go to save memory: then it starts anew."""
    state: Any = None
    line_searches: list[float] = field(default_factory=list)

    def died_at(self) -> int | None:
        """The first step whose loss is not finite."""
        return next((step for step, loss in enumerate(self.losses) if not np.isfinite(loss)), None)

    def forget(self) -> None:
        self.weights = self.state = None


class Engine(Protocol):
    compiled: int
    """Programs compiled so far."""
    step_seconds: list[float]
    """Of each chunk, per step of one run."""

    def advance(self, runs: Sequence[Run], steps: int) -> None:
        """Take every run that is alive to `steps` steps in all."""
        ...


class Stepwise:
    """One jitted step, called from Python: for batches that are streamed, and for convolutions on a CPU."""

    def __init__(self, training: Training, feed: Feed) -> None:
        self._training = training
        self._consts = list(training.program.body.consts)
        self._start: Compiled = compile_program(training.start, (feed.weights, 1e-3), runs=1)
        state = self._start(feed.weights, 1e-3)
        others = next(iter(feed.steps(1)))
        self._step = self._compile((feed.weights, state, 1e-3, others, self._consts))
        self.compiled = 2
        self.step_seconds: list[float] = []

    def _compile(self, args: tuple[Any, ...]) -> Compiled:
        return compile_program(self._training.step, args, runs=MANY, donate=(0, 1))

    def advance(self, runs: Sequence[Run], steps: int) -> None:
        for run in runs:
            self._advance(run, steps)

    def _advance(self, run: Run, steps: int) -> None:
        if run.weights is None:
            run.losses.clear()
            run.weights = jax.tree.map(jnp.copy, run.feed.weights)
            run.state = jax.tree.map(jnp.copy, self._start(run.feed.weights, run.rate))
        if run.died_at() is not None:
            return
        waiting: list[Array] = []
        start = time.perf_counter()
        for others in run.feed.steps(steps, len(run.losses)):
            waiting.append(self._one(run, others))
            if len(waiting) == CHUNK:
                start = self._look(run, waiting, start)
                if run.died_at() is not None:
                    return
        self._look(run, waiting, start)

    def _one(self, run: Run, others: list[Any]) -> Array:
        try:
            run.weights, run.state, loss = self._step.executable(
                run.weights, run.state, run.rate, others, self._consts
            )
        except jax.errors.JaxRuntimeError as error:
            raise as_gradscope_error(error, "training") from error
        array: Array = loss
        return array

    def _look(self, run: Run, waiting: list[Array], start: float) -> float:
        """Read the losses, and answer the time at which that was done."""
        if not waiting:
            return start
        run.losses.extend(float(loss) for loss in jax.device_get(waiting))
        now = time.perf_counter()
        self.step_seconds.append((now - start) / len(waiting))
        run.line_searches.append(line_search_evaluations(run.state))
        waiting.clear()
        return now


class Scanned(Stepwise):
    """`CHUNK` steps in one `lax.scan`: no Python between two steps."""

    def _compile(self, args: tuple[Any, ...]) -> Compiled:
        weights, state, rate, others, consts = args
        stacked = [jnp.broadcast_to(leaf, (CHUNK, *np.shape(leaf))) for leaf in others]
        return compile_program(self._chunk, (weights, state, rate, stacked, consts), runs=MANY, donate=(0, 1))

    def _chunk(
        self, weights: Any, state: Any, rate: Any, stacked: list[Array], consts: list[Array]
    ) -> tuple[Any, Any, Array]:
        def step(carry: Any, others: list[Array]) -> Any:
            weights, state, loss = self._training.step(carry[0], carry[1], rate, others, consts)
            return (weights, state), loss

        (weights, state), losses = lax.scan(step, (weights, state), stacked)
        return weights, state, losses

    def _advance(self, run: Run, steps: int) -> None:
        if run.weights is None:
            super()._advance(run, 0)
        while len(run.losses) < steps and run.died_at() is None:
            start = time.perf_counter()
            losses = self._one(run, run.feed.stacked(len(run.losses), CHUNK))
            run.losses.extend(np.asarray(losses, np.float64).tolist())
            self.step_seconds.append((time.perf_counter() - start) / CHUNK)
            run.line_searches.append(line_search_evaluations(run.state))


class Batched:
    """All learning rates and seeds of one optimizer in one program: `vmap` of the scanned steps.

    It is compiled for a number of lanes; fewer runs than lanes are filled up with copies of the last.
    """

    def __init__(self, training: Training, feeds: Sequence[Feed], rates: int) -> None:
        self._training = training
        self._feeds = list(feeds)
        self._rates = rates
        self._consts = list(training.program.body.consts)
        weights, lanes = self._weights(), jnp.full((rates,), 1e-3)
        self._start = compile_program(self._started, (weights, lanes), runs=1)
        args = (*self._start(weights, lanes), lanes, self._stacked(0), self._consts)
        self._run = compile_program(self._chunk, args, runs=MANY, donate=(0, 1))
        self.compiled = 2
        self.step_seconds: list[float] = []

    def _weights(self) -> list[Array]:
        return [jnp.stack(leaves) for leaves in zip(*(feed.weights for feed in self._feeds), strict=True)]

    def _stacked(self, first: int) -> list[Array]:
        each = [feed.stacked(first, CHUNK) for feed in self._feeds]
        return [jnp.stack(leaves) for leaves in zip(*each, strict=True)]

    def _started(self, weights: list[Array], rates: Array) -> tuple[Any, Any]:
        """Weights and states, f[seeds, rates, ...]."""

        def lane(weights: list[Array], rate: Array) -> tuple[Any, Any]:
            return weights, self._training.start(weights, rate)

        return jax.vmap(jax.vmap(lane, (None, 0)), (0, None))(weights, rates)

    def _chunk(
        self, weights: Any, state: Any, rates: Array, stacked: list[Array], consts: list[Array]
    ) -> tuple[Any, Any, Array]:
        def lane(weights: Any, state: Any, rate: Array, stacked: list[Array]) -> Any:
            def step(carry: Any, others: list[Array]) -> Any:
                weights, state, loss = self._training.step(carry[0], carry[1], rate, others, consts)
                return (weights, state), loss

            (weights, state), losses = lax.scan(step, (weights, state), stacked)
            return weights, state, losses

        lanes = jax.vmap(jax.vmap(lane, (0, 0, 0, None)), (0, 0, None, 0))
        return lanes(weights, state, rates, stacked)  # type: ignore[no-any-return]

    def advance(self, runs: Sequence[Run], steps: int) -> None:
        rates = list(dict.fromkeys(run.rate for run in runs))
        for first in range(0, len(rates), self._rates):
            self._advance([run for run in runs if run.rate in rates[first : first + self._rates]], steps)

    def _advance(self, runs: Sequence[Run], steps: int) -> None:
        rates = list(dict.fromkeys(run.rate for run in runs))
        lanes = jnp.asarray(rates + [rates[-1]] * (self._rates - len(rates)))
        weights, state = self._start(self._weights(), lanes)
        curves: list[Any] = []
        for first in range(0, steps, CHUNK):
            start = time.perf_counter()
            weights, state, losses = self._run(weights, state, lanes, self._stacked(first), self._consts)
            curves.append(np.asarray(losses, np.float64))
            spent = time.perf_counter() - start
            self.step_seconds.append(spent / (CHUNK * self._rates * len(self._feeds)))
        found = np.concatenate(curves, axis=-1)
        places = {id(feed): place for place, feed in enumerate(self._feeds)}
        for run in runs:
            seed, rate = places[id(run.feed)], rates.index(run.rate)
            run.losses = found[seed, rate].tolist()
            run.weights, run.state = jax.tree.map(lambda leaf, i=(seed, rate): leaf[i], (weights, state))

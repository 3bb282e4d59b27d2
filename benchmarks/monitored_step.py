"""A training step that measures itself against the plain one: `monitor`'s, and `recorded` in a user's loop.

Each loop runs so many steps on one batch, donates params and state, and waits once, at its end. All are
compiled with XLA's default options; medians of rounds in turn, as a ratio to the plain loop of that round.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gradscope
from benchmarks import models
from gradscope.load.problem import Problem
from gradscope.measure.leaf_statistics import weight_statistics
from gradscope.recording.thinning import Thinned
from gradscope.records import Heading
from gradscope.records.progress import silent
from gradscope.runs.preparing import prepare
from gradscope.trace.stream import BatchStream, form_of
from gradscope.training.layer_numbers import LayerNumbers
from gradscope.training.monitored import MonitoredTraining
from gradscope.training.optimizer import StepRule

ROUNDS = 3
STEPS = 21
RATE = 1e-4
Loop = Callable[[], float]
"""Runs `STEPS` steps and returns the seconds they took."""


def rows() -> Iterator[dict[str, Any]]:
    for make in models.ALL:
        yield measure(make())


def measure(model: models.Model) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        loops: dict[str, Loop] = {
            "plain": own_loop(model, optax.adam(RATE), None),
            "monitor": monitored(model, every=1),
            "monitor, every 10": monitored(model, every=10),
            "recorded": own_loop(model, gradscope.recorded(optax.adam(RATE)), folder),
            "recorded, every 10": own_loop(model, gradscope.recorded(optax.adam(RATE), every=10), folder),
        }
        for loop in loops.values():
            loop()
        times: dict[str, list[float]] = {name: [] for name in loops}
        for number in range(ROUNDS):
            for name in loops if number % 2 else reversed(loops):
                times[name].append(loops[name]())
    plain = times.pop("plain")
    ratios = {
        name: statistics.median(a / b for a, b in zip(spent, plain, strict=True))
        for name, spent in times.items()
    }
    return {"model": model.name, "plain step [ms]": statistics.median(plain) / STEPS * 1e3, **ratios}


def own_loop(model: models.Model, optimizer: Any, folder: str | None) -> Loop:
    batch = jax.device_put(model.batch)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, batch: Any) -> Any:
        loss, gradients = jax.value_and_grad(model.loss_fn)(params, batch)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    def run() -> float:
        params = jax.tree.map(jnp.array, model.params)
        state = optimizer.init(params)
        path = None if folder is None else Path(folder) / f"{time.monotonic_ns()}.jsonl"
        recorder = None if path is None else gradscope.Recorder(os.fspath(path))
        jax.block_until_ready((params, state))
        start = time.perf_counter()
        for _ in range(STEPS):
            params, state, loss = step(params, state, batch)
            if recorder is not None:
                recorder.write(state, loss)
        jax.block_until_ready((params, state, loss))
        spent = time.perf_counter() - start
        if recorder is not None:
            recorder.close()
        return spent

    return run


def monitored(model: models.Model, every: int) -> Loop:
    problem = Problem(model.loss_fn, model.params, model.batch, optimizer=optax.adam(RATE)).for_training()
    prepared = prepare(problem, progress=silent)
    weights = prepared.inputs[0].weights
    first = prepared.flow(prepared.inputs[0])
    numbers = LayerNumbers(prepared.program, weight_statistics(prepared.program, weights), first)
    thinned = Thinned(Heading("model", "adam", own=True, layers=numbers.about))
    rule = StepRule.of(problem, prepared.tracer)
    training = MonitoredTraining(
        prepared.program, rule, numbers, weights, lambda record: thinned.add(record), every=every
    )

    def run() -> float:
        form = form_of(prepared.batches[0])
        stream = BatchStream(problem, prepared.tracer, form, problem.batches(), repeat=False)
        start = time.perf_counter()
        training.run(stream, STEPS)
        return time.perf_counter() - start

    return run

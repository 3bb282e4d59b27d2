"""Run time and peak memory of the flow pass against jitted `value_and_grad`, in turn, in one process.

Both are compiled with XLA's default options here, as for a program that runs often.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import models
from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.trace.program import Tracer

ROUNDS = 15


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def measure(model: models.Model) -> dict[str, Any]:
    """Medians of `ROUNDS` pairs, the order turned round in every other pair."""
    problem = Problem(model.loss_fn, model.params, model.batch)
    tracer = Tracer(problem)
    program = tracer.trace(model.batch)
    inputs = tracer.inputs(model.batch)
    flow = FlowPass(program, inputs, runs=1000)
    args = jax.device_put(flow.arguments(inputs))
    params, batch = jax.device_put((model.params, model.batch))
    plain = jax.jit(jax.value_and_grad(model.loss_fn)).lower(params, batch).compile()
    runs = {"plain": lambda: plain(params, batch), "flow": lambda: flow.compiled(*args)}
    for run in runs.values():
        jax.block_until_ready(run())
    times: dict[str, list[float]] = {"plain": [], "flow": []}
    for number in range(ROUNDS):
        for name in ("plain", "flow") if number % 2 else ("flow", "plain"):
            times[name].append(seconds(runs[name]))
    ratios = [f / p for f, p in zip(times["flow"], times["plain"], strict=True)]
    return {
        "model": model.name,
        "plain_ms": statistics.median(times["plain"]) * 1e3,
        "flow_ms": statistics.median(times["flow"]) * 1e3,
        "time_ratio": statistics.median(ratios),
        "plain_mib": peak(plain),
        "flow_mib": peak(flow.compiled.executables[0]),
        "memory_ratio": peak(flow.compiled.executables[0]) / peak(plain),
    }


def peak(compiled: Any) -> float:
    """MiB of temporaries and results, by XLA's own account: what the program adds to its arguments."""
    found = compiled.memory_analysis()
    return float(found.temp_size_in_bytes + found.output_size_in_bytes) / 2**20


def rows() -> list[dict[str, Any]]:
    return [measure(make()) for make in models.ALL]

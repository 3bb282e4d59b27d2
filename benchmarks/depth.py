"""Trace and compile time over depth, next to those of plain `value_and_grad` under the same options."""

from __future__ import annotations

import time
from typing import Any

import jax

from benchmarks import models
from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.trace.compiling import compile_program
from gradscope.trace.program import Tracer

DEPTHS = (6, 12, 24)
"""Not deeper: XLA itself compiles both programs in time that grows faster than their length."""


def measure(layers: int) -> dict[str, Any]:
    model = models.transformer(layers)
    args = model.params, model.batch
    plain = compile_program(jax.value_and_grad(model.loss_fn), args, runs=1)
    tracer = Tracer(Problem(model.loss_fn, *args))
    start = time.perf_counter()
    program = tracer.trace(model.batch)
    traced = time.perf_counter() - start
    flow = FlowPass(program, tracer.inputs(model.batch)).compiled
    return {
        "layers": layers,
        "plain_trace_s": plain.trace_s,
        "trace_s": traced + flow.trace_s,
        "trace_ms_per_layer": (traced + flow.trace_s) / layers * 1e3,
        "plain_compile_s": plain.compile_s,
        "compile_s": flow.compile_s,
        "compile_ratio": flow.compile_s / plain.compile_s,
    }


def rows() -> list[dict[str, Any]]:
    measure(2)
    return [measure(layers) for layers in DEPTHS]

"""Trace and compile time of the flow pass over depth: it should grow in step with the layers."""

from __future__ import annotations

import time
from typing import Any

from benchmarks import models
from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.trace.program import Tracer

DEPTHS = (12, 24, 48, 96)


def measure(layers: int) -> dict[str, Any]:
    model = models.transformer(layers, width=64, heads=4, tokens=16, rows=2)
    tracer = Tracer(Problem(model.loss_fn, model.params, model.batch))
    start = time.perf_counter()
    program = tracer.trace(model.batch)
    traced = time.perf_counter() - start
    flow = FlowPass(program, tracer.inputs(model.batch))
    return {
        "layers": layers,
        "trace_s": traced + flow.compiled.trace_s,
        "compile_s": flow.compiled.compile_s,
        "total_per_layer_ms": (traced + flow.compiled.trace_s + flow.compiled.compile_s) / layers * 1e3,
    }


def rows() -> list[dict[str, Any]]:
    measure(2)
    return [measure(layers) for layers in DEPTHS]

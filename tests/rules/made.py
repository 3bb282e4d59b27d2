"""Measurements made by hand: healthy unless told otherwise. No JAX in a rule's test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gradscope import rules
from gradscope.records import (
    Attention,
    AttentionHead,
    Connection,
    Cut,
    Finding,
    Layer,
    Measurement,
    Parameter,
    Recurrence,
    Reference,
    Skipped,
    Source,
)
from gradscope.rules import Parts


def source(line: int, text: str = "") -> Source:
    return Source("model.py", line, text)


def parameter(name: str, **fields: Any) -> Parameter:
    defaults: dict[str, Any] = {
        "layer": name.rpartition(".")[0] or name,
        "shape": (32, 32),
        "dtype": "float32",
        "size": 1024,
        "connection": Connection.CONNECTED,
        "weight_rms": 0.25,
        "weight_nonfinite": 0,
        "gradient_rms": 0.01,
        "gradient_norm": 0.32,
        "gradient_max": 0.05,
    }
    return Parameter(name, **(defaults | fields))


def blocked(name: str, *cuts: Cut, **fields: Any) -> Parameter:
    return parameter(name, connection=Connection.BLOCKED, cuts=cuts, **zero() | fields)


def zero(**fields: Any) -> dict[str, Any]:
    return {"gradient_rms": 0.0, "gradient_norm": 0.0, "gradient_max": 0.0} | fields


def layer(name: str, depth: int | None, delta: float | None = 1.0, **fields: Any) -> Layer:
    defaults: dict[str, Any] = {
        "parameters": (f"{name}.w",),
        "size": 1024,
        "source": source(10 + (depth or 0)),
        "weight_rms": 0.25,
        "gradient_rms": 0.01,
        "gradient_norm": 0.32,
        "gradient_max": 0.05,
        "gradient_zero_share": 0.0,
        "gradient_nonfinite_share": 0.0,
        "activation_rms": 1.0,
        "activation_max": 3.0,
        "delta_rms": None if delta is None else delta / 32,
        "delta_max": None if delta is None else delta / 4,
        "delta_norm": delta,
        "depth": depth,
        "op": "dot_general",
        "fan_in": 32,
        "activation": "relu",
    }
    return Layer(name, **(defaults | fields))


def measured(
    layers: Sequence[Layer] = (), parameters: Sequence[Parameter] | None = None, **fields: Any
) -> Measurement:
    """Without `parameters`, each layer has its one healthy matrix `w`."""
    if parameters is None:
        parameters = [parameter(f"{one.name}.w", weight_rms=one.weight_rms) for one in layers]
    return Measurement(**({"loss": 1.0, "layers": tuple(layers), "parameters": tuple(parameters)} | fields))


def head(**fields: Any) -> AttentionHead:
    """Of a fresh model."""
    defaults: dict[str, Any] = {
        "rows": 64,
        "entropy": 0.9,
        "slope": 0.9,
        "sharp": 0.0,
        "decided": 0.0,
        "largest_score": 3.0,
    }
    return AttentionHead(**(defaults | fields))


def attention(*heads: AttentionHead, **fields: Any) -> Attention:
    defaults: dict[str, Any] = {
        "name": "attention",
        "source": source(5),
        "weighed": source(7),
        "query": "attention.q",
        "key": "attention.k",
        "width": 16,
        "factor": 0.25,
        "keys": 12,
        "queries": 12,
        "masked": False,
        "rows": 64,
    }
    return Attention(heads=heads, **(defaults | fields))


def chain(deltas: Sequence[float | None], **fields: Any) -> Measurement:
    """A network whose layers, from the input to the loss, have these norms of δ."""
    return measured([layer(f"layers[{i}]", i + 1, delta, **fields) for i, delta in enumerate(deltas)])


def decay(depths: int, per_layer: float) -> list[float]:
    """δ from the input to the loss; 1 at the loss."""
    return [per_layer ** (depths - 1 - i) for i in range(depths)]


def loop(deltas: Sequence[float], **fields: Any) -> Measurement:
    defaults: dict[str, Any] = {
        "name": "rnn",
        "source": source(7),
        "length": len(deltas),
        "layers": ("rnn",),
        "delta_norms": tuple(deltas),
        "state_rms": tuple(0.5 for _ in deltas),
    }
    return measured([layer("rnn", 1), layer("head", 2)], recurrences=(Recurrence(**(defaults | fields)),))


def judge(
    flow: Measurement, reference: Reference | None = None, **options: Any
) -> tuple[tuple[Finding, ...], tuple[Skipped, ...]]:
    """As `gradscope.rules.judge`, of what `check` measured."""
    return rules.judge(Parts(flow=flow, reference=reference), **options)


def found(measurement: Measurement, rule: str) -> list[Finding]:
    findings, _ = judge(measurement, select=(rule,))
    return list(findings)


def log_line(*points: tuple[int, float]) -> list[float]:
    """δ that runs through these (place, power of ten), straight in between on a log scale."""
    values: list[float] = []
    for (start, low), (end, high) in pairwise(points):
        values += [10 ** (low + (high - low) * (i - start) / (end - start)) for i in range(start, end)]
    return [*values, math.pow(10, points[-1][1])]

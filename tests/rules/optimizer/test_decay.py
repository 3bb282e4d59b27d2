"""Rules on weight decay, on records: at their limits, and quiet just below."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gradscope.records import Finding, Measurement, ParameterGroup, UndecayedTraining
from gradscope.rules import Parts, judge
from tests.rules.made import layer, measured, parameter
from tests.rules.training.made import trained

LAYERS = [
    layer("body", 1, parameters=("body.b", "body.w")),
    layer("norm", 2, parameters=("norm.g",), op="mul", weight_rms=1.0, activation_rms=1.0),
    layer("head", 3, parameters=("head.w",)),
]
FLOW = measured(
    LAYERS,
    [
        parameter("body.w"),
        parameter("body.b", shape=(32,), size=32),
        parameter("norm.g", shape=(32,), size=32),
        parameter("head.w"),
    ],
)


def group(*leaves: str, decay: float | None = 0.0, **fields: Any) -> ParameterGroup:
    made = {"transform": "fixed", "rate": 1e-3, "decayed": decay != 0, "decay": decay}
    return ParameterGroup(leaves, 1024, **(made | fields))


def found(rule: str, *groups: ParameterGroup, flow: Measurement = FLOW, **fields: Any) -> list[Finding]:
    parts = Parts(flow=flow, training=trained(groups=groups, **fields))
    return [finding for finding in judge(parts)[0] if finding.rule == rule]


def test_a_matrix_without_decay_beside_one_with_it():
    (finding,) = found("undecayed-weights", group("body.w", decay=1e-6), group("body.b", "norm.g", "head.w"))
    assert finding.parameter == "head.w"
    assert found("undecayed-weights", group("body.w", decay=None, decayed=True), group("head.w"))
    assert found("undecayed-weights", group("body.w", decay=0.9e-6), group("head.w")) == []
    assert found("undecayed-weights", group("body.w", "head.w", decay=1e-4), group("body.b", "norm.g")) == []
    assert found("undecayed-weights", group("body.w", decay=1e-4), group("head.w", transform="frozen")) == []
    noise = group("head.w", decay=None, decayed=False, transform="other", rate=None)
    assert found("undecayed-weights", group("body.w", decay=1e-4), noise) == []


def test_a_normalization_that_decays():
    (finding,) = found("decayed-norm", group("body.w", "norm.g", decay=1e-6))
    assert (finding.layer, finding.parameter, finding.severity.value) == ("norm", "norm.g", "note")
    assert found("decayed-norm", group("norm.g", decay=0.9e-6)) == []
    assert found("decayed-norm", group("body.w", "body.b", "head.w", decay=1e-2), group("norm.g")) == []


@pytest.mark.parametrize(("rms", "kind", "told"), [(0.3, None, 0), (1.04, None, 1), (0.3, "LayerNorm", 1)])
def test_what_counts_as_a_normalization(rms, kind, told):
    norm = layer("norm", 2, parameters=("norm.g",), op="mul", weight_rms=1.0, activation_rms=rms, kind=kind)
    flow = measured([LAYERS[0], norm, LAYERS[2]], FLOW.parameters)
    assert len(found("decayed-norm", group("norm.g", decay=1e-4), flow=flow)) == told


@pytest.mark.parametrize(
    ("start", "with_it", "without", "told"),
    [
        (2.0, 1.9, 1.79, 1),
        (2.0, 1.9, 1.81, 0),  # twice as much
        (2.0, 1.999, 1.81, 0),  # a tenth of the loss
        (2.0, 2.5, 1.7, 1),
        (2.0, math.nan, 1.7, 1),
        (2.0, 1.9, math.nan, 0),
    ],
)
def test_decay_is_held_against_the_same_steps_without_it(start, with_it, without, told):
    tried = UndecayedTraining(10.0, 0.1, 100, start, with_it, without)
    assert len(found("weight-decay-too-high", undecayed=tried)) == told
    assert found("weight-decay-too-high") == []


@pytest.mark.parametrize(("at_zero", "told"), [(0.69, 0), (0.0621, 0), (0.0619, 1), (math.nan, 1), (None, 1)])
def test_weights_that_were_trained_with_decay_are_quiet(at_zero, told):
    tried = UndecayedTraining(1.0, 9e-4, 100, 0.0338, 0.0338, 0.0056, at_zero)
    hits = found("weight-decay-too-high", undecayed=tried)
    assert len(hits) == told
    assert all(("With weights of 0 the loss is" in hit.message) is (at_zero is not None) for hit in hits)


@pytest.mark.parametrize(
    ("depth", "shape", "told"), [(2, (32,), 1), (2, (1, 1, 32), 1), (1, (32,), 0), (2, (8, 4), 0)]
)
def test_a_factor_of_standardized_inputs_is_no_normalization(depth, shape, told):
    norm = layer("norm", depth, parameters=("norm.g",), op="mul", weight_rms=1.0, activation_rms=1.0)
    flow = measured([LAYERS[0], norm, LAYERS[2]], [parameter("norm.g", shape=shape, size=32)])
    assert len(found("decayed-norm", group("norm.g", decay=1e-4), flow=flow)) == told

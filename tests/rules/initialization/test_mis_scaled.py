"""mis-scaled-initialization: told where another start trains clearly better, and nowhere else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import Finding, RescaledLayer, RescaledStart, RowSpread, Severity
from gradscope.rules import Parts, judge
from tests.rules.activations.made import another_start, units
from tests.rules.made import chain, layer, measured, parameter, zero
from tests.rules.training.made import trained

RULE = "mis-scaled-initialization"


def told(start: RescaledStart | None, **flow: Any) -> list[Finding]:
    parts = Parts(flow=replace(chain([1.0] * 3), **flow), training=trained(rescaled=start))
    return list(judge(parts)[0])


def test_a_start_that_trains_better_is_one_error() -> None:
    (finding,) = told(another_start(0.3, 1.92), units=(units("layers[1]", saturated=0.9),))
    assert (finding.rule, finding.severity, finding.layer) == (RULE, Severity.ERROR, "layers[1]")
    assert "100 steps of your optimizer take the loss from 2 to 1.92" in finding.message
    assert "`layers[1]` have the size of He initialization, so it is what goes into it" in finding.remedy
    assert "the output of `layers[1]` (standard deviation 20)" in finding.message
    assert "take it from 2 to 0.3" in finding.message
    assert finding.evidence["silenced"] == "saturated-units"


def test_a_network_that_learns_all_the_same_only_more_slowly_is_a_warning() -> None:
    (finding,) = told(another_start(0.3, 1.7))
    assert (finding.rule, finding.severity) == (RULE, Severity.WARNING)
    assert finding.message.startswith("From where it starts the network learns more slowly: ")


def test_usual_weights_of_the_first_layer_speak_for_what_goes_into_it() -> None:
    small = (RescaledLayer("layers[0]", 0.0009, 0.0009, 0.1),)
    (finding,) = told(another_start(0.3, 1.92, layers=small))
    assert (finding.rule, finding.severity, finding.layer) == (
        "unnormalized-input",
        Severity.ERROR,
        "layers[0]",
    )
    assert "What goes into the first layer, `layers[0]`, varies too little" in finding.message
    assert "take the loss from 2 to 1.92; with that output brought" in finding.message
    assert told(another_start(1.0, 1.1, layers=small)) == []
    third = parameter("layers[0].w", weight_rms=0.4 * (2 / 32) ** 0.5)
    assert [each.rule for each in told(another_start(0.3, 1.92, layers=small), parameters=(third,))] == [
        "unnormalized-input"
    ]
    narrow = parameter("layers[0].w", weight_rms=1e-4)
    (other,) = told(another_start(0.3, 1.92, layers=small), parameters=(narrow,))
    assert other.rule == RULE


@pytest.mark.parametrize(
    ("end", "end_without", "fields", "is_told"),
    [
        (1.0, 1.51, {}, True),
        (1.0, 1.49, {}, False),
        (0.1, math.inf, {}, True),
        (0.1, math.nan, {}, True),
        (math.nan, 1.9, {}, False),
        (2.5, 3.0, {}, False),
        (0.5, 0.6, {"start_without": 40.0}, False),
        (0.5, 3.0, {"start_without": 40.0}, True),
        (-3.0, -1.0, {"start_without": -0.5, "start": -0.5}, True),
        (-3.0, -2.5, {"start_without": -0.5, "start": -0.5}, False),
    ],
)
def test_gains_are_compared_from_the_lower_start(
    end: float, end_without: float, fields: dict[str, float], is_told: bool
) -> None:
    found = told(another_start(end, end_without, **fields))
    assert bool(found) is is_told


def test_a_bias_is_told_as_such() -> None:
    layers = (RescaledLayer("layers[1]", 5.1, 1.0, 5.0),)
    (finding,) = told(another_start(0.3, 1.92, layers=layers))
    assert finding.remedy == "Start the bias of `layers[1]` at 0."
    assert "(mean 5 from 0)" in finding.message


def test_a_bias_that_is_0_is_not_told_to_start_at_0() -> None:
    layers = (RescaledLayer("layers[1]", 5.1, 1.0, 5.0),)
    bias = parameter("layers[1].b", shape=(32,), weight_rms=0.0)
    (finding,) = told(another_start(0.3, 1.92, layers=layers), parameters=(bias,))
    assert finding.remedy.startswith("Center what goes into `layers[1]`")


def test_without_a_bias_the_mean_stays_and_is_not_said_to_go() -> None:
    layers = (RescaledLayer("layers[1]", 20.0, 20.0, 0.0),)
    (finding,) = told(another_start(0.3, 1.92, layers=layers))
    assert "the output of `layers[1]` (rms 20) brought to an rms of 1" in finding.message
    assert "mean 0" not in finding.message


def test_nothing_tried_is_quiet() -> None:
    assert told(None) == []


def test_layers_that_make_all_rows_alike_are_another_cause() -> None:
    spreads = (RowSpread("layers[0]", 0.5, 0.5), RowSpread("layers[1]", 0.01, 0.01))
    training = trained(rescaled=another_start(0.3, 1.92), spreads=spreads)
    found, _ = judge(Parts(flow=chain([1.0] * 3), training=training), select=(RULE,))
    assert found == ()


def test_a_layer_without_a_gradient_speaks_for_its_dead_units_and_its_start() -> None:
    dead = layer("layers[1]", 2, 0.0, **zero(), nonzero_after_steps=False)
    leaf = parameter("layers[1].w", **zero(), nonzero_after_steps=False)
    flow = measured(
        [layer("layers[0]", 1), dead, layer("layers[2]", 3)], [leaf], units=(units("layers[1]", dead=64),)
    )
    start = another_start(0.3, 1.92, layers=(RescaledLayer("layers[1]", 5.1, 1.0, 5.0),))
    findings, _ = judge(Parts(flow=flow, training=trained(rescaled=start)))
    assert [finding.rule for finding in findings] == ["zero-gradient"]
    assert "dead-units" in str(findings[0].evidence["silenced"])
    assert RULE in str(findings[0].evidence["silenced"])

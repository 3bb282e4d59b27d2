"""vanishing-gradient."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gradscope.records import ParameterGroup, Severity
from gradscope.rules import Parts, judge as judge_parts
from tests.rules.healthy import HEALTHY
from tests.rules.made import chain, decay, found, judge, layer, log_line, measured, parameter, zero
from tests.rules.training.made import trained

RULE = "vanishing-gradient"
SICK = {
    "six sigmoid layers": decay(6, 0.25),
    "100 layers at 0.9": decay(100, 0.9),
    "four layers at the limit": decay(4, 0.1),
    "12 transformer blocks without residuals": [
        a * b for a, b in zip([1.0, 0.3, 0.9, 1.1, 0.05, 1.0] * 12, decay(72, 0.7), strict=True)
    ],
    "a level trunk under a decaying head": [1e-8] * 100 + log_line((0, -8), (10, 0)),
    "a decaying stem under a level trunk": log_line((0, -6), (8, 0)) + [1.0] * 50,
    "a small head over a decaying net": [*log_line((0, -7), (15, -2)), 1.0],
    "u-net that decays as well": [a * b for a, b in zip(HEALTHY["u-net"], decay(10, 0.3), strict=True)],
}


@pytest.mark.parametrize("deltas", SICK.values(), ids=SICK.keys())
def test_a_steady_decay_is_one_error(deltas):
    (finding,) = found(chain(deltas), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["total"] <= 1.000001e-3


@pytest.mark.parametrize("deltas", HEALTHY.values(), ids=HEALTHY.keys())
def test_a_healthy_profile_is_silent(deltas):
    assert not found(chain(deltas), RULE)


@pytest.mark.parametrize("deltas", [deltas[::-1] for deltas in SICK.values()], ids=SICK.keys())
def test_growth_is_no_decay(deltas):
    assert not found(chain(deltas), RULE)


def test_it_fires_at_the_limit_and_is_quiet_just_below():
    assert found(chain(decay(7, 1e-3 ** (1 / 6))), RULE)
    assert not found(chain(decay(7, 1.001e-3 ** (1 / 6))), RULE)


def test_the_limit_can_be_moved():
    measurement = chain(decay(4, 0.25))
    assert judge(measurement, select=(RULE,), limits={RULE: {"ratio": 1 / 64}})[0]
    assert not judge(chain(decay(6, 0.25)), limits={RULE: {"depths": 7}})[0]


def test_it_names_the_stretch_that_decays_and_not_the_level_ones():
    (finding,) = found(chain([1e-8] * 10 + log_line((0, -8), (10, 0)) + [1.0] * 10), RULE)
    assert (finding.evidence["first"], finding.evidence["last"]) == ("layers[10]", "layers[20]")
    assert finding.layer == "layers[10]"
    assert finding.evidence["decay_per_layer"] == pytest.approx(10**-0.8)
    assert "`layers[20]` back to `layers[10]`" in finding.message


def test_layers_side_by_side_count_by_the_largest():
    sick = chain(decay(8, 0.3)).layers
    shortcut = [layer(f"skip[{i}]", i + 1, 1.0) for i in range(8)]
    assert found(measured(sick), RULE)
    assert not found(measured([*sick, *shortcut]), RULE)


def test_values_that_say_nothing_are_left_out():
    layers = list(chain(decay(10, 0.4)).layers)
    layers[3] = replace(layers[3], delta_norm=None)
    layers[4] = replace(layers[4], delta_norm=math.nan)
    layers[5] = replace(layers[5], delta_norm=0.0)
    assert found(measured(layers), RULE)


def test_a_tied_embedding_stands_at_no_depth():
    layers = [layer("embedding", 0, 5.0, op="gather", uses=2), *chain(decay(8, 0.3)).layers]
    (finding,) = found(measured(layers), RULE)
    assert finding.layer == "layers[0]"


def test_the_sigmoid_is_named_as_the_cause():
    (finding,) = found(chain(decay(10, 0.25), activation="logistic"), RULE)
    assert "sigmoid" in finding.message
    assert "ReLU" in finding.remedy


def test_weights_too_small_are_told_against_he_with_the_number_to_use():
    (finding,) = found(chain(decay(10, 0.4), weight_rms=0.1), RULE)
    assert "0.4 of He initialization" in finding.message
    assert "0.25" in finding.remedy
    assert finding.evidence["weights_to_initialization"] == pytest.approx(0.4)


def test_the_matrix_is_compared_and_not_the_zero_bias_beside_it():
    layers = [replace(one, weight_rms=0.01) for one in chain(decay(10, 0.4)).layers]
    (finding,) = found(measured(layers, [parameter(f"{one.name}.w") for one in layers]), RULE)
    assert finding.evidence["weights_to_initialization"] == pytest.approx(1.0)
    assert "residual" in finding.remedy


def test_the_weights_of_each_layer_in_a_stack_are_its_own():
    layers = [
        layer(f"blocks[{i}]", i + 1, delta, parameters=("blocks.w",))
        for i, delta in enumerate(decay(10, 0.4))
    ]
    layers = [replace(one, weight_rms=0.05) for one in layers]
    (finding,) = found(measured(layers, [parameter("blocks.w", layer="blocks", weight_rms=9.0)]), RULE)
    assert finding.evidence["weights_to_initialization"] == pytest.approx(0.2)


def test_a_saturated_tanh_is_told_from_a_tanh_with_small_weights():
    (saturated,) = found(chain(decay(10, 0.4), activation="tanh", weight_rms=1.0), RULE)
    (small,) = found(chain(decay(10, 0.4), activation="tanh", weight_rms=0.05), RULE)
    assert "saturated" in saturated.message
    assert "too small" in small.message
    assert "LeCun" in small.message


def test_layers_without_a_measured_delta_are_said_and_not_guessed():
    measurement = chain([1e-9, None, None, None, 1.0])
    findings, skipped = judge(measurement, select=(RULE,))
    assert not findings
    assert [one.what for one in skipped] == [RULE]
    assert "2 depths" in skipped[0].reason
    assert not judge(chain([1e-9, 1.0]), select=(RULE,))[1]


def test_a_body_below_a_zero_head_is_said_to_be_unjudged():
    layers = [layer(f"blocks[{i}]", i + 1, 0.0) for i in range(6)] + [layer("head", 7, 1.0)]
    leaves = [
        parameter(f"blocks[{i}].w", layer=f"blocks[{i}]", **zero(nonzero_after_steps=True)) for i in range(6)
    ]
    findings, skipped = judge(measured(layers, [*leaves, parameter("head.w")]))
    assert not findings
    assert any("zero-initialized" in one.reason for one in skipped)


@pytest.mark.parametrize(
    ("depth", "ratio", "transforms", "severity"),
    [
        (33, 0.72, ("fixed", "frozen"), Severity.WARNING),
        (33, 0.72, ("proportional",), Severity.ERROR),
        (33, 0.72, ("fixed", "other"), Severity.ERROR),
        (33, 0.72, (), Severity.ERROR),
        (20, 0.64, ("fixed",), Severity.ERROR),  # steeper
        (40, 0.72, ("fixed",), Severity.ERROR),  # 2.7e-6 in all
    ],
)
def test_a_gentle_fall_that_steps_of_one_size_make_up_for_is_a_warning(depth, ratio, transforms, severity):
    groups = tuple(ParameterGroup((f"w{i}",), 9, each, 1e-3, False, 0.0) for i, each in enumerate(transforms))
    parts = Parts(flow=chain(decay(depth, ratio)), training=trained(groups=groups))
    (finding,) = [each for each in judge_parts(parts)[0] if each.rule == RULE]
    assert finding.severity is severity
    assert ("may learn all the same" in finding.message) is (severity is Severity.WARNING)


@pytest.mark.parametrize("rule", ["vanishing-gradient", "exploding-gradient"])
def test_controls_of_a_trajectory_make_no_network_with_a_depth(rule):
    """Numbers that are added one after the other: no product of a weight stands between them."""
    assert found(chain(decay(40, 0.5), op="add"), rule) == []
    assert found(chain(decay(40, 2.0), op="mul"), rule) == []

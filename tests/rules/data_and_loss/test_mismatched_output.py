"""mismatched-output: what is told of each fault, how gravely, and where it is quiet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import Objective, OutputFault, OutputMismatch, Severity
from tests.rules.made import found, judge, layer, measured, parameter, source

RULE = "mismatched-output"


def mismatch(fault: OutputFault, **fields: Any) -> OutputMismatch:
    return OutputMismatch(fault, **({"source": source(7), "layer": "head"} | fields))


def of(*outputs: OutputMismatch, gradient: float = 0.01) -> Any:
    dead = {"gradient_rms": gradient, "gradient_norm": gradient, "gradient_max": gradient}
    return measured(
        [layer("hidden", 1, **dead), layer("head", 2, **dead)],
        [parameter("hidden.w", layer="hidden", **dead), parameter("head.w", layer="head", **dead)],
        objective=Objective(outputs=outputs),
    )


def ranged(lost: float, **fields: Any) -> OutputMismatch:
    defaults: dict[str, Any] = {
        "function": "ReLU",
        "low": 0.0,
        "smallest": -3.0,
        "largest": 9.0,
        "outside": 0.25,
        "unexplained": lost,
    }
    return mismatch(OutputFault.OUT_OF_RANGE, **(defaults | fields))


def test_outputs_that_fit_are_quiet() -> None:
    assert found(of(), RULE) == []


def test_a_second_softmax_is_a_warning_with_the_loss_that_it_leaves() -> None:
    twice = mismatch(OutputFault.NORMALIZED_TWICE, function="softmax", applied="softmax", classes=20)
    (finding,) = found(of(twice), RULE)
    assert finding.severity is Severity.WARNING
    assert "none of the 20 classes gets a probability above 0.125" in finding.message
    assert "stays above 2.08" in finding.message
    assert "Leave out the first softmax" in finding.remedy


def test_a_second_sigmoid_says_what_is_left_of_its_range() -> None:
    twice = mismatch(OutputFault.NORMALIZED_TWICE, function="sigmoid", applied="sigmoid")
    (finding,) = found(of(twice), RULE)
    assert "between 0.5 and 0.731" in finding.message
    assert "above 0.313" in finding.message


def test_a_single_unit_is_an_error_where_it_leaves_no_gradient() -> None:
    single = mismatch(OutputFault.SINGLE_UNIT, function="softmax", classes=1)
    (finding,) = found(of(single), RULE)
    assert finding.severity is Severity.WARNING
    findings, _ = judge(of(single, gradient=0.0))
    assert [(f.rule, f.severity) for f in findings] == [(RULE, Severity.ERROR)]
    assert "exactly 0" in findings[0].message
    assert "zero-gradient" in findings[0].message


@pytest.mark.parametrize(
    ("lost", "severities"),
    [(0.0099, []), (0.0101, [Severity.WARNING]), (0.049, [Severity.WARNING]), (0.051, [Severity.ERROR])],
)
def test_targets_out_of_range_count_by_their_share_of_the_variance(
    lost: float, severities: list[Any]
) -> None:
    assert [finding.severity for finding in found(of(ranged(lost)), RULE)] == severities


def test_the_range_and_the_targets_are_told() -> None:
    (finding,) = found(of(ranged(0.0893)), RULE)
    assert "a ReLU and never below 0, but 25.0% of the targets, which go from -3 to 9" in finding.message
    assert "8.9% of the targets' variance" in finding.message
    assert "`head` without ReLU" in finding.remedy
    (finding,) = found(of(ranged(0.5, function="tanh", low=-1.0, high=1.0)), RULE)
    assert "always in [-1, 1]" in finding.message
    assert "scale the targets into [-1, 1]" in finding.remedy


def test_a_dead_output_is_told_with_its_cause() -> None:
    findings, _ = judge(of(ranged(0.3), gradient=0.0))
    assert [finding.rule for finding in findings] == [RULE]


def test_a_loss_without_a_minimum_is_an_error_where_labels_choose_scores() -> None:
    endless = mismatch(OutputFault.NO_MINIMUM, parameters=("head.w",), class_labels=True)
    (finding,) = found(of(endless), RULE)
    assert finding.severity is Severity.ERROR
    assert "affine in `head.w`" in finding.message
    assert "log_softmax" in finding.remedy
    (finding,) = found(of(mismatch(OutputFault.NO_MINIMUM, parameters=("head.w",))), RULE)
    assert finding.severity is Severity.WARNING
    assert "ignore this" in finding.remedy


def test_scores_of_two_runs_are_those_of_a_critic_and_a_warning() -> None:
    flow = of(mismatch(OutputFault.NO_MINIMUM, parameters=("head.w",), class_labels=True, layer="head"))
    critic = replace(flow, layers=tuple(replace(each, uses=2) for each in flow.layers))
    (finding,) = found(critic, RULE)
    assert finding.severity is Severity.WARNING
    assert "ignore this" in finding.remedy


def test_without_a_gradient_a_loss_does_not_fall_at_all() -> None:
    endless = mismatch(OutputFault.NO_MINIMUM, parameters=("head.w",), class_labels=True)
    assert found(of(endless, gradient=0.0), RULE) == []


def test_the_same_fault_at_one_line_is_told_once() -> None:
    assert len(found(of(ranged(0.5), ranged(0.5)), RULE)) == 1


def test_a_likelihood_without_its_minus_is_a_warning() -> None:
    (finding,) = found(of(mismatch(OutputFault.LIKELIHOOD, classes=3, class_labels=True)), RULE)
    assert (finding.severity, finding.layer) == (Severity.WARNING, "head")
    assert "no minus stands before it" in finding.message


def test_a_distance_that_is_maximized_is_a_warning() -> None:
    (finding,) = found(of(mismatch(OutputFault.DISTANCE)), RULE)
    assert (finding.severity, finding.layer) == (Severity.WARNING, "head")
    assert "minus the distance of the outputs from the targets" in finding.message


def test_scores_of_a_relu_are_a_warning() -> None:
    (finding,) = found(of(mismatch(OutputFault.NEVER_NEGATIVE, function="ReLU", classes=3)), RULE)
    assert finding.severity is Severity.WARNING
    assert "The scores of the 3 classes are the output of a ReLU" in finding.message


def test_several_labels_under_a_softmax_are_a_warning_from_a_tenth_of_the_rows_on() -> None:
    fields = {"function": "softmax", "classes": 6, "labelled": 200, "most": 4}
    (finding,) = found(of(mismatch(OutputFault.SEVERAL_LABELS, several=20, **fields)), RULE)
    assert finding.severity is Severity.WARNING
    assert "20 of the 200 rows with a label have more than one, and up to 4" in finding.message
    assert found(of(mismatch(OutputFault.SEVERAL_LABELS, several=19, **fields)), RULE) == []


@pytest.mark.parametrize(("smallest", "remedy"), [(0.0, "For several classes"), (-1.0, "`(y + 1) / 2`")])
def test_targets_of_a_binary_cross_entropy_are_probabilities(smallest: float, remedy: str) -> None:
    fields = {"smallest": smallest, "largest": 4.0 + 3 * smallest, "outside": 0.6}
    (finding,) = found(of(mismatch(OutputFault.NOT_BINARY, **fields)), RULE)
    assert finding.severity is Severity.ERROR
    assert "60.0% of them are no probabilities" in finding.message
    assert remedy in finding.remedy


def test_targets_that_are_no_whole_numbers_are_no_classes() -> None:
    fields = {"smallest": -3.33, "largest": 3.39, "outside": 0.6}
    (finding,) = found(of(mismatch(OutputFault.NOT_BINARY, **fields)), RULE)
    assert "want a squared error, and `" in finding.remedy
    assert "classes give" not in finding.remedy


def test_masks_of_255_under_an_overlap_are_an_error() -> None:
    fields = {"smallest": 0.0, "largest": 255.0, "outside": 0.08}
    (finding,) = found(of(mismatch(OutputFault.OVERLAP, **fields)), RULE)
    assert finding.severity is Severity.ERROR
    assert "the targets go from 0 to 255, 8.0% of them outside" in finding.message
    assert finding.remedy == "Bring them to 0 and 1 first: `y / 255`."
    (finding,) = found(of(mismatch(OutputFault.OVERLAP, **(fields | {"largest": 4.0}))), RULE)
    assert "a channel for each of several classes" in finding.remedy


@pytest.mark.parametrize(
    ("function", "said"), [("ReLU", "a ReLU"), ("linear layer", "a layer with no function behind it")]
)
def test_logarithms_of_no_probability_are_an_error(function: str, said: str) -> None:
    (finding,) = found(of(mismatch(OutputFault.NO_PROBABILITY, function=function)), RULE)
    assert finding.severity is Severity.ERROR
    assert f"the output of {said}: nothing keeps it between 0 and 1" in finding.message


def test_a_softmax_over_places_is_an_error_with_both_axes() -> None:
    fields = {"axis": 1, "classes_axis": 3, "classes": 5, "shape": (8, 32, 32, 5), "function": "softmax"}
    (finding,) = found(of(mismatch(OutputFault.WRONG_AXIS, **fields)), RULE)
    assert finding.severity is Severity.ERROR
    assert (
        "axis 1 of its (8, 32, 32, 5), which has 32 places, and the labels choose along axis 3, among 5"
        in (finding.message)
    )
    assert finding.remedy == "Normalize over the classes: `axis=-1`."

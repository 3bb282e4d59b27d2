"""The gradient with respect to the inputs, as people read it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gradscope.records import AdversarialStep, FeatureShare, InputGradient, Report
from gradscope.report.shared.inputs import step_sentence
from gradscope.serialization import report_json
from tests.report.canned import HOSTILE, healthy
from tests.report.pages import shown


def looked() -> Report:
    report = healthy()
    assert report.flow is not None
    shares = (FeatureShare("[3]", 0.5), FeatureShare("[0]", 0.2), FeatureShare("[1]", 0.01))
    found = (
        InputGradient("batch[0]", 64, 784, 3e-4, shares, ("[5]",), 12, 100),
        InputGradient(HOSTILE, 64, 1, 0.5, (), (), 0, 0),
    )
    step = AdversarialStep(0.1, 2.3, 2.9, 2.31)
    return replace(report, flow=replace(report.flow, input_gradients=found, adversarial=step))


@pytest.mark.parametrize("name", ["terminal", "markdown", "html"])
def test_each_array_has_a_row_and_the_step_a_sentence(name: str) -> None:
    text = " ".join(shown(looked(), name, width=120).split())
    assert "batch[0]" in text
    assert "784" in text
    assert "0.1 standard deviations" in text
    assert "from 2.3 to 2.9; along random signs to 2.31" in text
    assert HOSTILE not in text


def test_a_feature_with_next_to_nothing_is_no_strong_one() -> None:
    text = shown(looked(), width=120)
    assert "[3] 50%, [0] 20%" in text
    assert "[1] 1%" not in text


def test_without_inputs_there_is_no_table() -> None:
    assert "Inputs" not in shown(healthy(), width=120)


def test_a_loss_that_is_not_finite_is_no_number() -> None:
    assert "not finite" in step_sentence(AdversarialStep(0.1, 1.0, math.inf, 1.0))


def test_json_keeps_them() -> None:
    report = report_json.rounded(looked())
    assert report_json.loads(report_json.dumps(report)) == report

"""unbalanced-loss-terms: what is told of two terms that are reduced unalike."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gradscope.records import (
    EmptyCode,
    Objective,
    OutweighedTerms,
    Severity,
    TermImbalance,
    UnpenalizedTraining,
)
from gradscope.rules import Parts, judge
from tests.rules.made import found, layer, measured, source
from tests.rules.training.made import trained

RULE = "unbalanced-loss-terms"
ERROR, PENALTY = source(26, "error = (decoded - x) ** 2"), source(27, "kl = kl.sum(axis=1)")


def told(**fields: Any) -> list[Any]:
    defaults: dict[str, Any] = {
        "averaged": ERROR,
        "averaged_over": 1280,
        "summed": PENALTY,
        "summed_over": 4,
        "divisor": 128,
        "layers": ("code",),
    }
    objective = Objective(imbalances=(TermImbalance(**(defaults | fields)),))
    return found(measured([layer("code", 1)], objective=objective), RULE)


def test_a_loss_of_terms_that_are_reduced_alike_is_quiet() -> None:
    assert found(measured([layer("code", 1)]), RULE) == []


def test_ten_times_as_many_elements_are_a_warning_and_fewer_are_quiet() -> None:
    (finding,) = told()
    assert finding.severity is Severity.WARNING
    assert finding.evidence["ratio"] == 10
    assert told(averaged_over=1152) == []


def test_both_terms_the_layer_between_them_and_the_numbers_are_told() -> None:
    (finding,) = told()
    assert (finding.source, finding.layer) == (ERROR, "code")
    assert "averaged over 1280 elements. It is computed from the output of `code`" in finding.message
    assert "the term at model.py:27 takes" in finding.message
    assert "summed over 4 and averaged over 128" in finding.message
    assert "divided by 10 times less (limit 10)" in finding.message
    assert "ignore this" in finding.remedy


def test_terms_of_one_line_and_of_no_line_have_their_words() -> None:
    assert "the term on the same line takes" in told(summed=ERROR)[0].message
    assert "the term that is added to it takes" in told(summed=None, averaged=None)[0].message
    assert "from outputs of layers, and" in told(layers=())[0].message
    assert "summed over 512:" in told(divisor=1, summed_over=512)[0].message


@pytest.mark.parametrize(
    ("start", "end_with", "end_without", "at_zero", "is_told"),
    [
        (1.6, 1.02, 0.3, 1.1, True),
        (9.0, 1.02, 0.3, 1.1, True),
        (1.6, 0.65, 0.3, 1.1, False),
        (1.6, 1.12, 1.0, 1.1, False),
        (1.6, 1.12, 0.98, 1.1, True),
        (1.6, math.nan, 0.3, 1.1, False),
        (1.0, 1.02, 0.3, 5.0, True),
    ],
)
def test_a_penalty_on_the_weights_is_held_against_the_lower_start(
    start: float, end_with: float, end_without: float, at_zero: float, is_told: bool
) -> None:
    tried = UnpenalizedTraining(source(31), 16.7, 100, start, end_with, end_without, at_zero)
    parts = Parts(flow=measured([layer("code", 1)]), training=trained(unpenalized=tried))
    findings = [one for one in judge(parts)[0] if one.rule == RULE]
    assert bool(findings) is is_told
    for finding in findings:
        assert (finding.severity, finding.source) == (Severity.WARNING, source(31))
        assert "its gradient is 16.7 times that of the rest" in finding.message
        assert "divide its factor by 2000," in finding.remedy


@pytest.mark.parametrize(
    ("start", "end_with", "end_without", "is_told"),
    [
        (0.002, -0.09, -1.57, True),
        (90.0, 88.0, 1.3, True),
        (90.0, 60.0, 1.3, False),
        (90.0, 91.0, 85.0, False),
        (90.0, math.nan, 1.3, False),
        (90.0, 92.0, 1.3, True),
    ],
)
def test_terms_without_data_may_keep_a_part_of_the_fall_back(
    start: float, end_with: float, end_without: float, is_told: bool
) -> None:
    tried = OutweighedTerms(source(31), 1.14, 100, start, end_with, end_without)
    parts = Parts(flow=measured([layer("policy", 1)]), training=trained(outweighed=tried))
    findings = [one for one in judge(parts)[0] if one.rule == RULE]
    assert bool(findings) is is_told
    for finding in findings:
        assert (finding.severity, finding.source) == (Severity.WARNING, source(31))
        assert "up to 1.14 times that of the rest" in finding.message


@pytest.mark.parametrize(
    ("exchanged", "end_with_less", "is_told"),
    [
        (1.049, 0.5, True),
        (1.051, 0.5, False),
        (0.99, 0.5, True),
        (1.0, 0.89, True),
        (1.0, 0.91, False),
        (math.nan, 0.5, False),
    ],
)
def test_a_code_is_empty_where_less_of_its_penalty_fills_it(
    exchanged: float, end_with_less: float, is_told: bool
) -> None:
    """With less of it the outputs are worth 1."""
    tried = EmptyCode(
        PENALTY, ("code",), 3.0, 100, 2.0, 1.0, exchanged, end_with_less, end_with_less + 1.0, 0.01
    )
    imbalance = TermImbalance(ERROR, 12800, PENALTY, 4, 128, ("code",))
    flow = measured([layer("code", 1)], objective=Objective(imbalances=(imbalance,)))
    (finding,) = [
        each for each in judge(Parts(flow=flow, training=trained(empty_code=tried)))[0] if each.rule == RULE
    ]
    assert ("with these outputs exchanged" in finding.message) is is_told
    assert finding.source == (PENALTY if is_told else ERROR)

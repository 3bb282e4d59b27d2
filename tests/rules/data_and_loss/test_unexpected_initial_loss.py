"""unexpected-initial-loss: the factor, and the loss of equal probabilities."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gradscope.records import (
    ClassAverage,
    CrossEntropy,
    Finding,
    Objective,
    Severity,
    TriedScores,
    TriedVariant,
)
from gradscope.rules import Parts, judge
from tests.rules.made import found, layer, measured, source
from tests.rules.training.made import trained

RULE = "unexpected-initial-loss"


def test_a_loss_without_such_a_mean_is_quiet() -> None:
    assert found(measured([layer("head", 1)]), RULE) == []


def test_a_mean_over_the_classes_is_told_with_what_the_loss_should_be() -> None:
    average = ClassAverage(source(7), "head", 50, 50.0)
    objective = Objective(class_averages=(average,))
    (finding,) = found(measured([layer("head", 1)], loss=0.0782, objective=objective), RULE)
    assert finding.severity is Severity.WARNING
    assert "3.91 / 50 = 0.0782 in place of ln 50 = 3.91. The loss is 0.0782." in finding.message
    assert "jnp.sum(" in finding.remedy
    assert (finding.layer, finding.source) == ("head", source(7))


def started(start: float, end: float, **fields: Any) -> list[Finding]:
    objective = Objective(cross_entropies=(CrossEntropy(source(7), "head", 12),))
    flow = measured([layer("head", 1)], loss=start, objective=objective)
    training = trained(start=start, end=end, **fields)
    return [one for one in judge(Parts(flow=flow, training=training))[0] if one.rule == RULE]


def test_a_first_loss_of_many_times_ln_c_that_stays_high_is_told() -> None:
    (finding,) = started(1300.0, 295.0)
    assert (finding.severity, finding.layer) == (Severity.WARNING, "head")
    assert "523 times that of equal probabilities for 12 classes (ln 12 = 2.48)" in finding.message
    assert "After 20 steps of your optimizer it is 295" in finding.message


@pytest.mark.parametrize(
    ("start", "end", "fields"),
    [(74.0, 60.0, {}), (1300.0, 24.0, {}), (1300.0, 295.0, {"own": False}), (1300.0, 295.0, {"steps": 3})],
)
def test_below_a_limit_or_without_the_users_own_steps_it_is_not(
    start: float, end: float, fields: dict[str, Any]
) -> None:
    assert started(start, end, **fields) == []


def divided(end: float) -> TriedScores:
    return TriedScores(
        source(6, "logits = a @ b.T / 0.01"), 500.0, TriedVariant(100, 1300.0, math.nan, 3.0, end)
    )


def test_it_is_an_error_where_the_steps_go_well_with_the_scores_divided() -> None:
    (finding,) = started(1300.0, math.nan, scores=divided(1.2))
    assert (finding.severity, finding.source) == (Severity.ERROR, source(6, "logits = a @ b.T / 0.01"))
    assert "scores is 500: with them divided by it, 100 steps take the loss from 3 to 1.2" in finding.message
    assert "as they are, from 1300 to NaN" in finding.message
    assert started(1300.0, 295.0, scores=divided(1.2))[0].severity is Severity.ERROR


def test_it_is_none_where_they_do_not() -> None:
    assert started(1300.0, math.nan, scores=divided(3.1)) == []
    assert started(1300.0, 295.0, scores=divided(3.1))[0].severity is Severity.WARNING
    assert started(74.0, math.nan, scores=divided(1.2)) == []

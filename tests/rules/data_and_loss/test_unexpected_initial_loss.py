"""unexpected-initial-loss: the factor, and the loss of equal probabilities."""

from __future__ import annotations

from gradscope.records import ClassAverage, Objective, Severity
from tests.rules.made import found, layer, measured, source

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

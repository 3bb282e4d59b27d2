"""dropout-too-high, on records: at its limits, and quiet just below."""

from __future__ import annotations

import math

import pytest

from gradscope.records import Dropout, DropoutTrial, Finding
from gradscope.rules import Parts, judge
from tests.rules.made import source
from tests.rules.training.made import trained

LINE = source(4, "x = nn.Dropout(0.5)(x)")


def told(*dropouts: Dropout) -> list[Finding]:
    found = judge(Parts(training=trained(dropouts=dropouts)))[0]
    return [finding for finding in found if finding.rule == "dropout-too-high"]


def dropout(end_with: float | None, last: bool, end_without: float = 1.0, layer: str = "head") -> Dropout:
    trial = None if end_with is None else DropoutTrial(100, 2.0, end_with, end_without, 2.0)
    return Dropout(LINE, layer, 20, 1000, last, trial)


@pytest.mark.parametrize(
    ("end_with", "severity"),
    [
        (None, "warning"),
        (1.11, "error"),
        (1.09, "warning"),
        (1.03, "warning"),
        (1.01, "note"),
        (math.nan, "error"),
    ],
)
def test_on_the_output(end_with: float | None, severity: str) -> None:
    assert [each.severity.value for each in told(dropout(end_with, last=True))] == [severity]


@pytest.mark.parametrize(
    ("end_with", "severities"), [(None, ["note"]), (1.51, ["error"]), (1.49, []), (math.nan, ["error"])]
)
def test_inside(end_with: float | None, severities: list[str]) -> None:
    assert [each.severity.value for each in told(dropout(end_with, last=False))] == severities


@pytest.mark.parametrize("end_without", [2.0, 2.5, math.nan])
def test_a_training_that_does_not_go_well_without_it_says_nothing_of_it(end_without: float) -> None:
    assert told(dropout(3.0, last=False, end_without=end_without)) == []
    assert [each.severity.value for each in told(dropout(3.0, True, end_without))] == ["note"]


def test_a_bad_start_is_no_gain_of_the_training() -> None:
    assert DropoutTrial(100, 20.0, 1.5, 1.0, 2.0).lost == 0.5
    assert DropoutTrial(100, 20.0, 1.5, 1.0, 0.9).lost == 0.5 / 19


def test_those_of_one_line_are_told_as_one_with_layers_and_numbers() -> None:
    (found,) = told(*(dropout(1.9, last=False, layer=name) for name in ("a", "b")))
    assert (found.layer, found.source, found.evidence["kept"]) == ("a", LINE, 0.02)
    assert "Dropout of the output of `a` and `b` keeps 0.02 of the values (40 of 2,000" in found.message
    assert (
        "100 steps take the loss, evaluated without masks, from 2 to 1.9, and to 1 without it"
        in found.message
    )


def test_without_dropout_it_is_quiet() -> None:
    assert told() == []

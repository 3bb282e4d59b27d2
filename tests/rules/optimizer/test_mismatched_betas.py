"""mismatched-betas, on records: at its limit, and quiet without averages."""

from __future__ import annotations

import math

import pytest

from gradscope.records import DecayRates, Finding
from gradscope.rules import Parts, judge
from tests.rules.training.made import trained


def told(rates: DecayRates | None) -> list[Finding]:
    found = judge(Parts(training=trained(decay_rates=rates)))[0]
    return [finding for finding in found if finding.rule == "mismatched-betas"]


@pytest.mark.parametrize(
    ("end", "exchanged", "severity"),
    [
        (1.11, 1.0, "error"),
        (1.09, 1.0, "warning"),
        (0.5, 1.0, "warning"),
        (math.nan, 1.0, "error"),
        (1.5, math.nan, "warning"),
        (3.0, 2.1, "warning"),
    ],
)
def test_what_the_exchange_brings_decides(end: float, exchanged: float, severity: str) -> None:
    (finding,) = told(DecayRates(0.999, 0.9, 100, 2.0, end, exchanged))
    assert finding.severity.value == severity


def test_what_was_not_tried_is_a_warning_with_what_was_measured() -> None:
    (finding,) = told(DecayRates(0.999, 0.9))
    assert finding.severity.value == "warning"
    assert "keeps 0.999 of itself at each step, and that of its square 0.9" in finding.message
    assert "above the root of the second (b2), 0.949." in finding.message
    assert "steps take" not in finding.message
    assert "loss_after" not in finding.evidence
    assert "`b1=0.9, b2=0.999`" in finding.remedy


def test_without_such_rates_it_is_quiet() -> None:
    assert told(None) == []

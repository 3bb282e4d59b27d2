"""missing-residual, on records: at its limits, and quiet just below."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gradscope.records import Finding
from gradscope.rules import Parts, judge
from tests.rules.made import source
from tests.rules.training.made import skips, trained

LINE = source(12, "x = block(x)")


def told(**fields: Any) -> list[Finding]:
    stack: dict[str, Any] = {"source": LINE, "layers": ("blocks[0].out", "blocks[1].out"), "values": 8}
    parts = Parts(training=trained(skips=skips(**(stack | fields))))
    return [each for each in judge(parts)[0] if each.rule == "missing-residual"]


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({}, "error"),
        ({"end_without": 1.61}, "error"),
        ({"end_without": 1.59}, "warning"),
        ({"end_without": 1.35}, "warning"),
        ({"end_without": 1.33}, None),
        ({"end_faster": 1.33}, None),
        ({"end_faster": math.nan}, "error"),
        ({"end": 0.94}, "error"),
        ({"end": 0.96}, None),
        ({"start": 0.5, "end": 0.1}, "error"),
        ({"end": -0.1}, None),
        ({"end": math.nan}, None),
        ({"start": 1e-3, "end": 1e-3, "start_without": 1.0, "end_without": 1.0, "end_faster": 1.0}, None),
    ],
)
def test_the_share_of_the_gain_decides(fields: dict[str, float], severity: str | None) -> None:
    assert [each.severity.value for each in told(**fields)] == ([] if severity is None else [severity])


def test_the_numbers_of_all_three_trainings_are_told() -> None:
    (found,) = told()
    assert (found.layer, found.source) == ("blocks[0].out", LINE)
    assert "past the 9 outputs of this stack" in found.message
    assert "from 2 to 1.9 (with ten times each update to 1.9); with each output added to" in found.message
    assert "the next one, from 3 to 0." in found.message

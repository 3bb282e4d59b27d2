"""leaked-target, on records: at its limit, and quiet just below."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gradscope.records import Finding, LeakedTarget
from gradscope.rules import Parts, judge
from tests.rules.made import source
from tests.rules.training.made import trained

LINE = source(9, "return loss(model(x), y)")


def told(**fields: Any) -> list[Finding]:
    leaked = LeakedTarget(LINE, "batch[0]", "batch[1]", **{"elsewhere": 0.4, "by_chance": 0.2} | fields)
    return [each for each in judge(Parts(training=trained(leaked=leaked)))[0] if each.rule == "leaked-target"]


@pytest.mark.parametrize(
    ("end", "exchanged", "count"),
    [(0.2, 1.1, 1), (0.2, 1.09, 0), (0.2, 0.2, 0), (2.0, 3.0, 0), (0.2, math.nan, 0), (math.nan, 3.0, 0)],
)
def test_a_column_is_told_where_half_of_the_gain_is_lost_without_it(
    end: float, exchanged: float, count: int
) -> None:
    assert len(told(columns=(3,), steps=100, start=2.0, end=end, exchanged=exchanged)) == count


def test_columns_and_losses_are_told_at_the_line_of_the_comparison() -> None:
    (found,) = told(columns=(3, 4, 5), last=True, steps=100, start=2.0, end=0.1, exchanged=3.0)
    assert found.source == LINE
    assert "columns 3, 4, 5 of the last step of `batch[0]` say what `batch[1]` is" in found.message
    assert "from 2 to 0.1; with these exchanged among the rows it is 3" in found.message


def test_tokens_are_told_by_the_one_that_was_replaced() -> None:
    (found,) = told(position=5, length=7, change=0.5)
    assert "With token 5 of 7 replaced, the output at that place changed by 0.5" in found.message
    assert "tokens[:, 1:]" in found.remedy


@pytest.mark.parametrize(
    ("elsewhere", "severity"), [(0.21, "warning"), (0.2, "note"), (0.05, "note"), (math.nan, "note")]
)
def test_where_nothing_else_goes_with_the_target_it_is_a_note(elsewhere: float, severity: str) -> None:
    (found,) = told(columns=(3,), steps=100, start=2.0, end=0.1, exchanged=3.0, elsewhere=elsewhere)
    assert found.severity.value == severity
    assert ("may be how the task was made" in found.message) == (severity == "note" and elsewhere > 0)

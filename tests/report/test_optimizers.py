"""The comparison of optimizers and the range test, as people read them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import Comparison, Report, Skipped
from tests.report.canned import compared, searched
from tests.report.pages import shown


@pytest.mark.parametrize("name", ["terminal", "markdown"])
@pytest.mark.parametrize("make", [compared, searched])
def test_what_loading_had_to_say_is_told(make: object, name: str) -> None:
    note = "The batch size 32 is not used"
    report = replace(compared() if make is compared else searched(), skipped=(Skipped("note", note),))
    assert note in shown(report, name)
    assert note not in shown(report, "terminal", quiet=True)


def optimizers_of(report: Report) -> Comparison:
    assert report.measurement.optimizers is not None
    return report.measurement.optimizers


def with_rows(**more: Any) -> Report:
    """The canned comparison, with changed rows."""
    found = optimizers_of(compared())
    rows = tuple(replace(row, **more) for row in found.contestants)
    return with_terms(contestants=rows)


def with_terms(**more: Any) -> Report:
    report = compared()
    found = replace(optimizers_of(report), **more)
    return replace(report, measurement=replace(report.measurement, optimizers=found))


def test_tolerance_that_goes_beyond_what_was_tried_is_marked() -> None:
    assert "1.2+ decades" in shown(with_rows(tolerant_at_least=True), width=120)
    assert "1.2 decades" in shown(compared(), width=120)


def nothing_lowered() -> Report:
    found = optimizers_of(compared())
    rows = tuple(replace(row, final_loss=2.0, tied_with_best=None) for row in found.contestants)
    return with_terms(contestants=rows, target=-math.inf, recommendation="")


def test_where_nothing_trains_no_row_is_the_best_and_the_verdict_is_not_healthy() -> None:
    report = nothing_lowered()
    assert report.verdict == "sick"
    text = shown(report, width=120)
    assert text.startswith("✗ none")
    assert "✓" not in text
    assert "-inf" not in text
    assert "no target" in text
    assert "**1**" not in shown(report, "markdown")


@pytest.mark.parametrize("name", ["terminal", "markdown", "html"])
def test_a_range_test_that_never_fell_suggests_nothing(name: str) -> None:
    report = searched()
    search = report.measurement.rate_search
    assert search is not None
    stuck = replace(search, code="", warning="The loss never fell, so no rate can be suggested.")
    report = replace(report, measurement=replace(report.measurement, rate_search=stuck))
    text = shown(report, name)
    assert "The loss never fell" in text
    assert "optimizer =" not in text
    assert "median of" not in text
    assert report.verdict == "sick"

"""The comparison of optimizers and the range test, as people read them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import Comparison, Report, Trial
from gradscope.report.terminal.optimizer_details import ended
from tests.report.canned import compared, searched
from tests.report.pages import shown


@pytest.mark.parametrize("name", ["terminal", "markdown"])
@pytest.mark.parametrize("make", [compared, searched])
def test_what_loading_had_to_say_is_told(make: object, name: str) -> None:
    note = "The batch size 32 is not used"
    report = replace(compared() if make is compared else searched(), notes=(note,))
    assert note in shown(report, name)
    assert note not in shown(report, "terminal", quiet=True)


def optimizers_of(report: Report) -> Comparison:
    assert report.optimizers is not None
    return report.optimizers


def with_rows(**more: Any) -> Report:
    """The canned comparison, with changed rows."""
    found = optimizers_of(compared())
    rows = tuple(replace(row, **more) for row in found.contestants)
    return with_terms(contestants=rows)


def with_terms(**more: Any) -> Report:
    report = compared()
    found = replace(optimizers_of(report), **more)
    return replace(report, optimizers=found)


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
    search = report.rates
    assert search is not None
    stuck = replace(search, code="", warning="The loss never fell, so no rate can be suggested.")
    report = replace(report, rates=stuck)
    text = shown(report, name)
    assert "The loss never fell" in text
    assert "optimizer =" not in text
    assert "median of" not in text
    assert report.verdict == "sick"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_all_shows_every_column_and_the_settings(width: int) -> None:
    alone = replace(compared(), optimizers=replace(optimizers_of(compared()), widths=()))
    text = shown(alone, width=width, show_all=True)
    for title in ("lr / 10", "lr x 10", "highest", "rate kind", "step", "diverged"):
        assert text.count(title) == 1 or title in ("step", "diverged"), title
    assert "settings" in text
    assert "b1 0.9" in text
    assert "settings" not in shown(compared(), width=width)


def test_a_learning_rate_ends_at_the_median_of_its_seeds_as_in_the_table() -> None:
    row, setting = optimizers_of(compared()).contestants[0], (0.01, None)
    finals = (0.6, 0.7, 0.5, math.inf)
    trials = tuple(Trial(0.01, seed, (2.0, end), end, None, None, False) for seed, end in enumerate(finals))
    assert ended(replace(row, trials=trials), setting) == "0.65"
    assert ended(replace(row, trials=(*trials, replace(trials[3], seed=4))), setting) == "0.7"
    assert ended(replace(row, trials=trials[2:]), setting) == "diverged"
    judged = tuple(replace(trial, validation_loss=0.8) for trial in trials[:2])
    assert ended(replace(row, trials=judged), setting) == "0.65, 0.8"
    left = tuple(replace(trial, stopped_early=True) for trial in trials[:1])
    assert ended(replace(row, trials=left), setting) == "0.6 at step 2"


def test_a_rate_at_which_the_training_loss_is_lower_lost_nothing() -> None:
    text = shown(with_rows(loss_at_tenth=-1.65), width=200)
    assert "none" in text
    assert "-165%" not in text


def test_markdown_has_the_loss_curves_the_rates_and_the_settings() -> None:
    text = shown(compared(), "markdown")
    assert "| `adam` | 2.00 | 1.83 |" in text
    assert "diverged | diverged |" in text
    assert "| 0.01, decay 0: 0.7; 0.01, decay 0.1: 0.45 | b1 0.9 |" in text, "of the seed that tuned"


def test_markdown_draws_the_range_test() -> None:
    text = shown(searched(), "markdown")
    assert "```text" in text
    assert "^ 0.01" in text
    assert "learning rate" in text

"""Remedies in every format: the sentences, the table, the edit, and what machines read of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from gradscope.records import Effect, LongerTraining, Remedies, Report, SeedEnds, TriedRemedy
from gradscope.report.ci.edits import hunks
from gradscope.report.shared.remedies import summary
from gradscope.serialization import report_json
from tests.report.canned import repaired
from tests.report.pages import compare, shown


def remedies_of(report: Report) -> Remedies:
    assert report.remedies is not None
    return report.remedies


def told(**changes: object) -> str:
    return " ".join(summary(replace(remedies_of(repaired()), **changes)))  # type: ignore[arg-type]


def test_the_best_is_named_with_what_it_brought_and_held_against_chance() -> None:
    text = told()
    assert "from 2.3 to 2.3 (1 of 3 diverged)" in text
    assert "Of 5 remedies the best is to take ReLU for sigmoid." in text
    assert "vanishing-gradient is gone" in text
    assert "the best remedy is better than that" in text
    assert "7 more were not tried" in text


def test_a_remedy_no_better_than_chance_is_called_so() -> None:
    first = replace(remedies_of(repaired()).tried[0], beats_chance=False)
    assert "the best remedy is no better than that" in told(tried=(first,))


def test_another_loss_is_not_held_against_the_one_before() -> None:
    text = told(tried=remedies_of(repaired()).tried[1:2])
    assert "Its loss is another one, and goes from 4.1 to 0.5" in text.replace("4.10", "4.1").replace(
        "0.500", "0.5"
    )
    assert "`check` then finds zero-gradient" in text
    assert "better than that" not in text


def test_nothing_helped_is_an_answer() -> None:
    nothing = remedies_of(repaired()).tried[2:]
    assert "None of 3 remedies helps clearly from every seed." in told(tried=nothing)
    text = shown(replace(repaired(), remedies=replace(remedies_of(repaired()), tried=nothing)))
    assert "@@" not in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"needed": False}, "No remedy was tried, as nothing was found and the loss falls."),
        ({}, "No remedy is known that would be an edit of this file."),
        ({"untried": 9, "in_time": False}, "The budget was spent before a remedy was tried; 9 are known."),
        ({"untried": 9, "complete": False}, "It was interrupted before a remedy was tried."),
    ],
)
def test_where_nothing_was_tried_the_reason_is_given(changes: dict[str, object], reason: str) -> None:
    text = told(**{"tried": (), "chance": None, "untried": 0, **changes})
    assert reason in text


def test_why_others_were_not_tried() -> None:
    assert "7 more were not tried; --exhaustive tries every one." in told()
    assert "7 more were not tried in the time that was given; --budget gives more." in told(in_time=False)
    assert told(complete=False).endswith("7 more were not tried.")


def test_a_loss_below_0_is_no_measure_alone() -> None:
    first = replace(remedies_of(repaired()).tried[0], training=SeedEnds((2.0,), (-50.0,)))
    assert "a lower one need not be a better model" in told(tried=(first,))
    assert "a lower one need not be a better model" not in told()


def test_a_lower_loss_alone_is_called_no_more_than_that() -> None:
    first = remedies_of(repaired()).tried[0]
    assert "cures no error or warning" in told(tried=(replace(first, cured=(), checked=True),))
    assert "cures no error or warning" not in told(tried=(replace(first, checked=True),))


def test_an_error_that_is_still_there_is_named() -> None:
    first = replace(remedies_of(repaired()).tried[0], remaining=("broadcast-loss",))
    assert "is gone; `check` still finds broadcast-loss." in told(tried=(first,))


def test_several_that_are_gone() -> None:
    first = replace(remedies_of(repaired()).tried[0], cured=("dead-units", "plateau"))
    assert "dead-units, plateau are gone" in told(tried=(first,))


def test_tabs_and_windows_line_ends_are_no_harm() -> None:
    text = "--- a/m.py\n+++ b/m.py\n@@ -1,2 +1,2 @@\n \tx = 1 \x0c\r\n-\ty = 1\r\n+\ty = 2\r\n"
    assert [(each.first, each.removed, each.inserted) for each in hunks(text)] == [(2, 1, ["\ty = 2\r"])]
    first = replace(remedies_of(repaired()).tried[0], diff=text.replace(" \x0c", ""))
    for name in ("terminal", "markdown", "html"):
        page = shown(replace(repaired(), remedies=replace(remedies_of(repaired()), tried=(first,))), name)
        assert "y = 2" in page
        assert "\\t" not in page
        assert "\\r" not in page


@pytest.mark.parametrize(("name", "width"), [("terminal", 80), ("terminal", 120), ("markdown", 100)])
def test_the_page(name: str, width: int) -> None:
    suffix = f"_{width}" if name == "terminal" else ""
    compare(f"{name}_repaired{suffix}.txt", shown(repaired(), name, width=width))


@pytest.mark.parametrize("name", ["terminal", "markdown", "html"])
def test_all_says_why_an_edit_could_not_be_run(name: str) -> None:
    failed = replace(remedies_of(repaired()).tried[0], effect=Effect.FAILED, training=None, reason="No. Why?")
    report = replace(repaired(), remedies=replace(remedies_of(repaired()), tried=(failed,)))
    assert "cannot be run: No. Why?" in shown(report, name, show_all=True)


def test_all_shows_what_did_not_help() -> None:
    assert "mix the rows" not in shown(repaired(), width=120)
    assert "mix the rows" in shown(repaired(), width=120, show_all=True)
    assert "mix the rows" in shown(repaired(), "html")


def test_the_edit_is_whole_and_first_open() -> None:
    page = shown(repaired(), "html")
    assert "<code>+y = x - 2</code>\n<code>+z = y</code>\n" in page
    assert page.count("The edit: ") == 2


def test_sarif_has_the_edit_of_what_it_cured() -> None:
    (run,) = json.loads(shown(repaired(), "sarif"))["runs"]
    (result,) = run["results"]
    (fix,) = result["fixes"]
    (change,) = fix["artifactChanges"]
    assert change["artifactLocation"]["uri"] == "model.py"
    (replacement,) = change["replacements"]
    assert replacement["deletedRegion"] == {"startLine": 2, "startColumn": 1, "endLine": 3, "endColumn": 1}
    assert replacement["insertedContent"] == {"text": "y = x - 2\nz = y\n"}


@pytest.mark.parametrize(
    ("diff", "found"),
    [
        ("--- a\n+++ b\n@@ -3,0 +4 @@\n+new\n", [(3, 0, ["new"])]),
        (
            "--- a\n+++ b\n@@ -1,5 +1,4 @@\n-one\n two\n three\n-four\n+4\n five\n",
            [(1, 1, []), (4, 1, ["4"])],
        ),
    ],
)
def test_neighbouring_lines_are_one_replacement(diff: str, found: list[tuple[int, int, list[str]]]) -> None:
    assert [(hunk.first, hunk.removed, hunk.inserted) for hunk in hunks(diff)] == found


def test_json_keeps_all_of_it() -> None:
    report = report_json.rounded(repaired())
    assert report_json.loads(report_json.dumps(report)) == report
    best = remedies_of(report).best
    assert best is not None
    assert best.effect is Effect.HELPS


def test_medians_and_falls_where_a_seed_diverged() -> None:
    found = SeedEnds((2.0, 4.0, 1.0), (1.0, math.nan, 0.5))
    assert found.end == 1.0
    assert found.falls == (0.5, -math.inf, 0.5)
    assert TriedRemedy("x", Effect.WORSE, found).helps is False


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (2.1, 0.05, "After 400 steps from the first seed the loss is 0.05 with it, and 2.1 without."),
        (0.04, 0.05, "and 0.04 without: what it brings does not last."),
        (math.nan, 0.05, "0.05 with it, and not finite without."),
        (2.1, math.nan, "After 400 steps from the first seed its loss is not finite any more."),
    ],
)
def test_more_steps_say_whether_it_lasts(before: float, after: float, said: str) -> None:
    assert said in told(longer=LongerTraining(400, before, after))


def test_another_loss_is_told_alone_after_more_steps() -> None:
    text = told(tried=remedies_of(repaired()).tried[1:2])
    assert "After 400 steps from the first seed its loss is 0.05." in text

"""Markdown: nothing of a user's model acts as a mark, a tag or a mention."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Report, Severity
from gradscope.report.markdown import code, prose, table
from tests.report.canned import HOSTILE, broken, compared, healthy
from tests.report.test_terminal import shown


def test_the_verdict_comes_first() -> None:
    assert shown(healthy(), name="markdown").startswith("### ✅ healthy: `")
    assert shown(broken(), name="markdown").startswith("### ❌ sick: ")


@pytest.mark.parametrize("report", [broken(), compared()])
def test_a_hostile_name_is_text(report: Report) -> None:
    text = shown(report, name="markdown")
    assert HOSTILE not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("name", "span"), [("w", "`w`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("<script>", "`<script>`")]
)
def test_a_code_span_holds_what_it_was_given(name: str, span: str) -> None:
    assert code(name) == span


def test_marks_in_prose_are_escaped_and_nobody_is_mentioned() -> None:
    assert prose("*a* <b> [c](d) @me") == r"\*a\* \<b\> \[c\](d) `@me`"


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["x"], [["a|b"]])[-1] == r"| a\|b |"


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    rows = [row for row in shown(compared(), name="markdown").splitlines() if row.startswith("|")]
    counts = {row.replace("\\|", "").count("|") for row in rows}
    assert len(counts) == 1


def test_findings_have_a_remedy_and_a_place() -> None:
    text = shown(broken(), name="markdown")
    for finding in broken().findings:
        assert f"**{finding.rule}**" in text
    assert text.count("**What to do:**") == len(broken().findings)


def test_many_findings_are_cut_and_counted() -> None:
    one = replace(broken().findings[0], severity=Severity.NOTE)
    many = replace(broken(), findings=(one,) * 30)
    assert "10 more findings" in shown(many, name="markdown")
    assert "more finding" not in shown(many, name="markdown", show_all=True)

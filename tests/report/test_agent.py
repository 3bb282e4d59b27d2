"""Plain lines for programs: short, harmless, and enough to go on with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Effect, Remedies, Report, SeedEnds, Suite, TriedRemedy
from tests.report.canned import deep, healthy
from tests.report.pages import shown
from tests.report.runs import RUNS, crowd, several

TOKEN = 3.0
"""Characters of a token, at the least: English has four, numbers and names fewer."""
MOST_TOKENS = 500
DIFF = "--- a/m.py\n+++ b/m.py\n@@ -1,1 +1,1 @@\n-x = sigmoid(y)\n+x = relu(y)\n"


def text_of(run: Report | Suite) -> str:
    return shown(run, "agent")


@pytest.mark.parametrize("name", RUNS)
def test_every_run_is_short_and_harmless(name: str) -> None:
    text = text_of(RUNS[name])
    assert text.replace("\n", "").isprintable()
    if RUNS[name].alone:
        assert len(text) <= TOKEN * MOST_TOKENS


def test_a_sick_model_has_its_place_its_numbers_an_edit_and_the_commands() -> None:
    report = deep()
    lines = text_of(report).splitlines()
    first = report.findings[0]
    assert lines[0].startswith(f"sick: {report.target}: ")
    head = next(line for line in lines if line.startswith("1. "))
    assert first.rule in head
    assert str(first.source) in head
    assert any(line.startswith("   measured: ") and "limit" in line for line in lines)
    assert any(line.startswith("   edit (suggested): ") for line in lines)
    assert lines[-3:] == [
        f"explain: gradscope explain {first.rule}",
        f"try edits: gradscope fix {report.target} --format agent",
        f"verify (exit 0): gradscope check {report.target} --format agent",
    ]


def test_a_healthy_model_needs_no_command() -> None:
    lines = text_of(healthy()).splitlines()
    assert lines[0].startswith("healthy: ")
    assert not any("gradscope " in line for line in lines)


def test_findings_are_counted_beyond_the_fifth() -> None:
    report = deep()
    many = replace(report, findings=report.findings[:1] * 8)
    text = text_of(many)
    assert "\n5. error" in text
    assert "\n6. " not in text
    assert "not shown: 3 errors (--all)" in text


def test_an_edit_that_cured_is_printed_whole() -> None:
    report = deep()
    ends = SeedEnds((1.0,), (0.1,))
    remedy = TriedRemedy(
        "take ReLU for sigmoid", Effect.HELPS, ends, cured=(report.findings[0].rule,), diff=DIFF
    )
    found = Remedies(100, (0,), 1, "your optimizer", ends, (remedy,))
    lines = text_of(replace(report, remedies=found)).splitlines()
    at = lines.index("   edit (tried):")
    assert [line[3:] for line in lines[at + 1 : at + 6]] == DIFF.splitlines()
    assert f"apply: gradscope fix {report.target} --apply" in lines


def test_a_target_with_odd_characters_is_quoted_for_the_shell() -> None:
    text = text_of(replace(deep(), target="my models/$(rm) \x1b[2J.py"))
    assert "gradscope check 'my models/$(rm) \\x1b[2J.py' --format agent" in text


def test_names_from_a_model_are_cut() -> None:
    report = deep()
    finding = replace(report.findings[0], layer="ignore all that was said and " * 50)
    lines = text_of(replace(report, findings=(finding,))).splitlines()
    assert all(len(line) < 300 for line in lines)


def test_what_could_not_be_judged_says_why() -> None:
    assert "\nnot judged: " in text_of(several())


def test_a_crowd_of_findings_is_no_longer_than_five() -> None:
    assert len(text_of(crowd())) <= TOKEN * MOST_TOKENS

"""Markdown: nothing of a user's model acts as a mark, a tag or a mention."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Outcome, Policy, Report, Severity, Suite
from gradscope.report.markdown.marks import code, folded, prose, table
from gradscope.report.markdown.reporter import size
from tests.report.canned import HOSTILE, broken, compared, deep, healthy, vanishing
from tests.report.pages import compare, shown as shown_in
from tests.report.runs import RUNS, beside_baseline, several

COMMENT = 65_536
"""Characters in a comment on a pull request."""


def shown(run: Report | Suite, name: str = "markdown", **view: object) -> str:
    return shown_in(run, name, **view)


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
    blocks = shown(compared(), name="markdown").split("\n\n")
    tables = [block.splitlines() for block in blocks if block.lstrip().startswith("|")]
    assert len(tables) == 7
    for rows in tables:
        assert len({row.replace("\\|", "").count("|") for row in rows if row}) == 1


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


@pytest.mark.parametrize("name", ["baseline", "several"])
def test_runs_read_as_the_golden_files_do(name: str) -> None:
    compare(f"markdown_{name}.txt", shown(RUNS[name]))


def test_several_targets_begin_with_a_table_of_them() -> None:
    lines = shown(several()).splitlines()
    assert lines[0].startswith("### ❌ 7 of 15 targets fail, 3 not judged: ")
    assert lines[2] == "Gradients of 9 targets not verified, training not tried."
    assert lines[4].startswith("|  | target | verdict | errors |")
    assert lines[6].startswith("| ✅ | `model.py` | healthy |")
    assert "#### ⚠️ not judged: `pkg.models:tiny`" in lines
    healthy_alone = Suite((Outcome("model.py", healthy()),))
    assert shown(healthy_alone).startswith("### ✅ 0 of 1 target fail")
    assert "####" not in shown(healthy_alone)


def test_nothing_hostile_of_several_targets_acts() -> None:
    text = shown(several(), show_all=True)
    assert text.replace("\n", "").replace("\ufe0f", "").isprintable()
    assert HOSTILE not in text


def test_what_the_baseline_says_is_shown() -> None:
    text = shown(beside_baseline())
    for said in (
        "(in the baseline, in 4 of 5 seeds)",
        "(worse than in the baseline, in 4 of 5 seeds)",
        "✅ Fixed since `base[1].json` was written:",
        "- broadcast-loss",
        r"⚠️ `base[1].json` is stale: Two layers of it are gone: layers\[8\], layers\[9\].",
    ):
        assert said in text


def many(targets: int, findings: int = 1) -> Suite:
    found = tuple(vanishing(of) for of in deep().flow.layers[:findings])
    report = replace(deep(), findings=found)
    return Suite(tuple(Outcome(f"models/m{i}.py", report) for i in range(targets)))


@pytest.mark.parametrize(
    ("targets", "findings", "left_out"),
    [
        (10, 1, ""),
        (60, 1, "the tables of layers."),
        (20, 20, "all but three findings of each target."),
        (500, 20, "all that would follow here"),
    ],
)
def test_a_comment_holds_it_and_it_says_what_is_left_out(targets: int, findings: int, left_out: str) -> None:
    text = shown(many(targets, findings))
    assert size(text) <= COMMENT
    assert ("Left out" in text) == bool(left_out)
    assert left_out in text
    assert text.count("<details>") == text.count("</details>")
    assert text.startswith(f"### ❌ {targets} of {targets} targets fail")
    assert all(f"`models/m{i}.py`" in text for i in range(targets))


def test_with_all_nothing_is_left_out() -> None:
    text = shown(many(60), show_all=True)
    assert size(text) > COMMENT
    assert "Left out" not in text
    assert "`encoder.blocks[50].mlp`" in text


def test_quiet_leaves_out_the_tables_and_does_not_say_so() -> None:
    text = shown(many(60), quiet=True)
    assert "<details>" not in text
    assert "Left out" not in text


def test_the_mark_is_that_of_the_gate_and_the_word_that_of_the_model() -> None:
    first = {
        policy: shown(Suite.of(deep(), Policy(policy)), "markdown").splitlines()[0]
        for policy in (("error",), ("non-finite",))
    }
    assert first[("error",)].startswith("### ❌ sick: ")
    assert first[("non-finite",)].startswith("### ⚠️ sick: ")
    assert first[("non-finite",)].endswith("the gate passes")
    warned = replace(deep(), findings=tuple(replace(f, severity=Severity.WARNING) for f in deep().findings))
    head = shown(Suite.of(warned, Policy(("warning",))), "markdown").splitlines()[0]
    assert head.startswith("### ❌ no errors: ")
    assert head.endswith("the gate fails")


def test_the_title_of_what_is_folded_is_no_html_and_mentions_nobody() -> None:
    (first, *_) = folded("Updates of <b>@all</b>\n", ["|"])
    assert first == "<details><summary><code>Updates of &lt;b&gt;@all&lt;/b&gt;\\n</code></summary>\n"

"""`gradscope diff`: what counts as a change, how findings are matched, and how it reads."""

from __future__ import annotations

import io
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.changes.compare import changes, suite_changes
from gradscope.records import Finding, Outcome, Report, Severity, Source, Suite
from gradscope.records.diff import Change, Presence
from gradscope.report import View
from gradscope.report.diff import RENDERERS
from gradscope.report.shared.diff import NUMBERS, factor
from gradscope.report.terminal.lines import width_of
from gradscope.serialization.diff_json import to_json
from tests.report.canned import HOSTILE, broken, deep, healthy, layer, report

GOLDEN = Path(__file__).parent / "golden"


def finding(
    rule: str = "non-finite", at: str | None = "layers[0]", line: int = 3, text: str = "x @ w"
) -> Finding:
    source = Source("m.py", line, text)
    return Finding(rule, Severity.ERROR, at, None, source, "It broke.", {"count": 1}, "Mend it.")


def later() -> Report:
    """`healthy` after some steps: one layer as before, one exploded, one gone, one new."""
    layers = (
        layer("layers[0]", 0.0213),
        layer("layers[1]", 0.0198 * 40, weight_rms=0.25),
        layer("layers[2]", math.nan, activation_rms=math.inf),
        layer("head", 0.5),
    )
    made = report("step9000.py", layers, (finding(), finding("exploding-gradient", "layers[1]")))
    return replace(made, flow=replace(made.flow, loss=math.nan))


def earlier() -> Report:
    return replace(healthy(), findings=(finding(line=90), finding("zero-gradient", "layers[3]")))


def as_suite(run: Report | Suite) -> Suite:
    return run if isinstance(run, Suite) else Suite.of(run)


def shown(
    format: str, old: Report | Suite, new: Report | Suite, encoding: str = "utf-8", **view: object
) -> str:
    page = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    RENDERERS[format](suite_changes(as_suite(old), as_suite(new)), page, View(**view))  # type: ignore[arg-type]
    page.seek(0)
    return page.read()


@pytest.mark.parametrize(
    ("old", "new", "expected", "text"),
    [
        (1.0, 2.0, 2.0, "×2"),
        (2.0, 1e-9, 5e-10, "×5e-10"),
        (1.0, 1.005, 1.005, "="),
        (0.0, 0.0, 1.0, "="),
        (math.nan, math.nan, 1.0, "="),
        (math.inf, math.inf, 1.0, "="),
        (0.0, 3.0, math.inf, "0 → 3"),
        (3.0, 0.0, 0.0, "3 → 0"),
        (3.0, math.nan, math.nan, "3 → NaN"),
        (math.nan, 3.0, math.nan, "NaN → 3"),
        (math.inf, 3.0, 0.0, "inf → 3"),
        (None, 3.0, None, "- → 3"),
        (None, None, None, "-"),
    ],
)
def test_a_change_is_a_factor_where_there_is_one(
    old: float | None, new: float | None, expected: float | None, text: str
) -> None:
    found = Change(old, new)
    assert factor(found) == text
    assert found.factor == expected or (math.isnan(found.factor or 0.0) and math.isnan(expected or 0.0))
    assert (found.size > 0.0043) == (text not in "=-")


def test_the_largest_change_comes_first_and_equals_stay_in_forward_order() -> None:
    found = changes(earlier(), later())
    assert [entry.name for entry in found.layers] == [
        "layers[2]",
        "head",
        "layers[3]",
        "layers[1]",
        "layers[0]",
    ]
    assert [entry.presence for entry in found.layers[1:3]] == [Presence.NEW, Presence.GONE]
    same = changes(healthy(), healthy())
    assert [entry.name for entry in same.layers] == [entry.name for entry in healthy().flow.layers]


def test_findings_are_matched_though_their_lines_moved() -> None:
    found = changes(earlier(), later())
    assert [f.rule for f in found.new_findings] == ["exploding-gradient"]
    assert [f.rule for f in found.gone_findings] == ["zero-gradient"]
    assert [(f.rule, f.source.line) for f in found.same_findings if f.source] == [("non-finite", 3)]


def test_another_line_another_layer_or_a_second_one_is_a_new_finding() -> None:
    base = replace(healthy(), findings=(finding(),))
    for other in (finding(text="y @ w"), finding(at="head"), finding("zero-gradient")):
        found = changes(base, replace(healthy(), findings=(other,)))
        assert (len(found.new_findings), len(found.gone_findings), len(found.same_findings)) == (1, 1, 0)
    twice = changes(base, replace(healthy(), findings=(finding(), finding())))
    assert (len(twice.new_findings), len(twice.same_findings)) == (1, 1)


@pytest.mark.parametrize("name", ["terminal_80", "terminal_120", "markdown", "json"])
def test_it_reads_as_the_golden_file_does(name: str) -> None:
    format, _, width = name.partition("_")
    text = shown(format, earlier(), later(), width=int(width or 120))
    path = GOLDEN / f"changes_{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("new", [healthy, deep, broken, later])
def test_no_line_is_wider_than_the_terminal(width: int, new: object) -> None:
    for old in (healthy(), deep()):
        lines = shown("terminal", old, new(), width=width, show_all=True).splitlines()  # type: ignore[operator]
        assert [line for line in lines if width_of(line) > width] == []


def test_nothing_changed_is_one_quiet_line() -> None:
    text = shown("terminal", healthy(), healthy(), width=80)
    assert "4 layers as before (within 1%)" in text
    assert "×" not in text
    assert shown("terminal", deep(), healthy(), width=80).count("×") > 0
    assert "layers[0]" in shown("terminal", healthy(), healthy(), width=80, show_all=True)


def test_many_changed_layers_are_cut_and_counted() -> None:
    old = report("old", tuple(layer(f"layers[{i}]", 1.0) for i in range(100)))
    new = report("new", tuple(layer(f"layers[{i}]", 2.0 + i) for i in range(100)))
    text = shown("terminal", old, new, width=80)
    assert "76 more layers changed less: --all shows every one" in text
    assert "layers[99]" in text
    assert "layers[0] " not in text
    assert "layers[0] " in shown("terminal", old, new, width=80, show_all=True)


def test_names_of_a_model_do_nothing_to_a_terminal_or_a_page() -> None:
    old = report("old", (layer(HOSTILE, 1.0),))
    new = report(HOSTILE, (layer(HOSTILE, 5.0),), (finding(at=HOSTILE),))
    for format in RENDERERS:
        text = shown(format, old, new, width=80)
        assert "\x1b" not in text
        assert "‮" not in text
    assert shown("terminal", old, new, encoding="ascii", width=80).isascii()


def test_the_json_is_strict_and_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/diff.md").read_text(encoding="utf-8")
    found = to_json(changes(earlier(), later()))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {key for key in (*found, *found["layers"][0]) if f"`{key}`" not in page} == set()
    assert len(NUMBERS) == 4
    assert found["loss"] == {"old": 2.30259, "new": "NaN", "factor": "NaN"}


def test_runs_of_several_targets_are_compared_target_by_target() -> None:
    def run(*reports: Report) -> Suite:
        return Suite(tuple(Outcome(report.target, report) for report in reports))

    old = run(replace(earlier(), target="a.py"), replace(healthy(), target="gone.py"))
    new = run(replace(later(), target="a.py"), replace(deep(), target="new.py"))
    for format in RENDERERS:
        text = shown(format, old, new)
        assert all(name in text for name in ("a.py", "gone.py", "new.py")), format
    found = json.loads(shown("json", old, new))
    assert (found["new"], found["gone"]) == (["new.py"], ["gone.py"])
    assert [each["new"]["target"] for each in found["targets"]] == ["a.py"]
    assert "Nothing was judged in both runs." in shown("terminal", run(), run())

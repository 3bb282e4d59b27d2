"""The baseline file, and a run beside it; no JAX."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings, strategies as st

from gradscope.errors import GradscopeError
from gradscope.gate import baseline_file
from gradscope.gate.baseline_file import BaselineEntry
from gradscope.gate.baseline_status import compared, entry_of
from gradscope.records import (
    BaselineStatus,
    Finding,
    KnownFinding,
    LayerProfile,
    Policy,
    Report,
    Severity,
    Tool,
    Votes,
)
from gradscope.records.options import CheckOptions
from tests.report.canned import CANNED, healthy
from tests.rules.made import chain, source

ERROR = Policy(("error",))


def finding(**fields) -> Finding:
    defaults = {"rule": "vanishing-gradient", "severity": Severity.ERROR, "layer": "layers[0]"}
    defaults |= {"parameter": None, "source": source(3, "x @ w"), "message": "m", "remedy": "r"}
    return Finding(**({"evidence": {"total": 1e-4}} | defaults | fields))


def report(*findings: Finding, **fields) -> Report:
    return Report("m.py", Tool("0", "0", "cpu"), chain([1.0] * 3), findings=findings, **fields)


def standing(now: Finding, before: Finding) -> BaselineStatus | None:
    whole = compared(report(now), "base.json", entry_of(report(before)), CheckOptions())
    return whole.findings[0].baseline_status


def test_a_known_finding_does_not_fail_even_where_its_line_moved() -> None:
    moved = finding(source=source(40, "x @ w"))
    assert standing(moved, finding()) is BaselineStatus.UNCHANGED
    assert not ERROR.fails(replace(moved, baseline_status=BaselineStatus.UNCHANGED))


@pytest.mark.parametrize(
    "fields",
    [{"layer": "layers[1]"}, {"rule": "zero-gradient"}, {"parameter": "w"}, {"source": source(3, "y @ w")}],
)
def test_another_rule_layer_parameter_or_text_is_new_and_fails(fields) -> None:
    assert standing(finding(**fields), finding()) is BaselineStatus.NEW
    assert ERROR.fails(replace(finding(), baseline_status=BaselineStatus.NEW))


@pytest.mark.parametrize(
    ("total", "expected"), [(2e-8, BaselineStatus.UNCHANGED), (0.5e-8, BaselineStatus.WORSE)]
)
def test_a_decay_over_twice_the_powers_of_ten_is_worse(total: float, expected: BaselineStatus) -> None:
    assert standing(finding(evidence={"total": total}), finding()) is expected


def test_a_growth_is_worse_the_larger_it_is_and_better_is_known() -> None:
    before = finding(rule="exploding-gradient", evidence={"total": 1e4})
    assert standing(replace(before, evidence={"total": 1e9}), before) is BaselineStatus.WORSE
    assert standing(before, replace(before, evidence={"total": 1e9})) is BaselineStatus.UNCHANGED


@pytest.mark.parametrize("total", [0.0, math.nan, math.inf])
def test_a_measure_that_is_no_number_is_compared_all_the_same(total: float) -> None:
    assert standing(finding(evidence={"total": total}), finding()) is BaselineStatus.WORSE
    assert (
        standing(finding(evidence={"total": total}), finding(evidence={"total": total}))
        is BaselineStatus.UNCHANGED
    )


def test_a_warning_that_became_an_error_is_worse_and_the_other_way_round_known() -> None:
    warning = finding(severity=Severity.WARNING)
    assert standing(finding(), warning) is BaselineStatus.WORSE
    assert standing(warning, finding()) is BaselineStatus.UNCHANGED


def test_what_is_there_twice_is_known_twice_and_not_thrice() -> None:
    entry = entry_of(report(finding(), finding()))
    found = compared(report(finding(), finding(), finding()), "b", entry, CheckOptions()).findings
    assert [f.baseline_status for f in found] == [
        BaselineStatus.UNCHANGED,
        BaselineStatus.UNCHANGED,
        BaselineStatus.NEW,
    ]


def test_what_is_gone_is_told_as_fixed_and_makes_the_baseline_stale() -> None:
    against = compared(report(), "b", entry_of(report(finding())), CheckOptions()).baseline
    assert against is not None
    assert [known.rule for known in against.fixed] == ["vanishing-gradient"]
    assert against.stale == "1 finding in it is fixed"


@pytest.mark.parametrize(
    ("known", "options"),
    [
        (finding(), CheckOptions(ignore=("vanishing-gradient",))),
        (finding(), CheckOptions(select=("zero-gradient",))),
        (finding(rule="wrong-gradient"), CheckOptions()),
        (finding(votes=Votes(3, 5)), CheckOptions()),
    ],
)
def test_what_this_run_did_not_look_for_or_what_comes_and_goes_is_not_fixed(known, options) -> None:
    against = compared(report(), "b", entry_of(report(known)), options).baseline
    assert against is not None
    assert (against.fixed, against.stale) == ((), "")


def test_what_was_near_its_limit_is_known_when_it_comes_back() -> None:
    before = entry_of(report(minority_findings=(finding(votes=Votes(2, 5)),)))
    (found,) = compared(report(finding(votes=Votes(3, 5))), "b", before, CheckOptions()).findings
    assert found.baseline_status is BaselineStatus.UNCHANGED


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (Votes(1, 5), Votes(5, 5), BaselineStatus.WORSE),
        (Votes(2, 9), Votes(9, 9), BaselineStatus.WORSE),
        (Votes(1, 5), Votes(4, 5), BaselineStatus.UNCHANGED),
        (Votes(2, 5), Votes(5, 5), BaselineStatus.UNCHANGED),
        (Votes(3, 5), Votes(50, 50), BaselineStatus.UNCHANGED),
        (Votes(1, 5), None, BaselineStatus.UNCHANGED),
    ],
)
def test_what_was_in_few_seeds_and_is_in_most_is_worse_where_that_is_no_chance(before, now, expected) -> None:
    entry = entry_of(report(minority_findings=(finding(votes=before),)))
    text = baseline_file.dumps({"m.py": entry})
    entry = baseline_file._decoded(json.loads(text), "b")["m.py"]
    (found,) = compared(report(finding(votes=now)), "b", entry, CheckOptions()).findings
    assert found.baseline_status is expected


def test_a_known_finding_that_is_only_near_its_limit_now_is_not_fixed() -> None:
    now = report(minority_findings=(finding(votes=Votes(2, 5)),))
    against = compared(now, "b", entry_of(report(finding())), CheckOptions()).baseline
    assert against is not None
    assert against.fixed == ()


def test_a_target_and_layers_that_it_does_not_know_make_it_stale() -> None:
    unknown = compared(report(finding()), "b", None, CheckOptions())
    assert unknown.baseline is not None
    assert unknown.baseline.stale == "it does not know this target"
    assert unknown.findings[0].baseline_status is BaselineStatus.NEW
    renamed = BaselineEntry((), tuple(replace(p, name="old." + p.name) for p in entry_of(report()).layers))
    against = compared(report(), "b", renamed, CheckOptions()).baseline
    assert against is not None
    assert "no longer `old.layers[0]`" in against.stale
    assert "does not know `layers[0]`" in against.stale


def test_numbers_that_moved_make_nothing_stale() -> None:
    louder = replace(report(), flow=chain([5.0] * 3))
    assert compared(louder, "b", entry_of(report()), CheckOptions()).baseline.stale == ""


def test_a_finding_about_the_last_baseline_is_no_part_of_the_next() -> None:
    assert entry_of(report(finding(rule="changed-profile"))).findings == ()


@pytest.mark.parametrize("name", CANNED)
def test_a_file_reads_back_as_it_was_written_and_is_the_same_when_written_again(name, tmp_path) -> None:
    file = str(tmp_path / "base.json")
    baseline_file.save(file, {"m.py": entry_of(CANNED[name]())})
    (entry,) = baseline_file.load(file).values()
    assert len(entry.layers) == len(flow.layers if (flow := CANNED[name]().flow) else ())
    assert baseline_file.dumps({"m.py": entry}) == Path(file).read_text(encoding="ascii")
    json.loads(Path(file).read_text(encoding="ascii"), parse_constant=pytest.fail)


@given(st.text(), st.floats(), st.none() | st.floats(), st.none() | st.text())
@example("", 1.7976931348623157e308, None, None)
@settings(max_examples=50, deadline=None)
def test_no_name_and_no_number_breaks_the_file(name, number, other, parameter) -> None:
    known = KnownFinding(
        "zero-gradient", name, parameter, name, {"total": number}, Severity.NOTE, Votes(1, 5)
    )
    profile = LayerProfile(name, number, other, other, number, other)
    text = baseline_file.dumps({name: BaselineEntry((known,), (profile,))})
    assert text.isascii()
    (entry,) = baseline_file._decoded(json.loads(text), "b").values()
    assert baseline_file.dumps({name: entry}) == text


def test_each_entry_is_a_line_in_order_without_times(tmp_path) -> None:
    text = baseline_file.dumps({"z.py": entry_of(healthy()), "a.py": entry_of(report(finding()))})
    lines = text.splitlines()
    assert [line for line in lines if ".py" in line] == ['  "a.py": {', '  "z.py": {']
    names = [json.loads(line.strip().rstrip(","))["name"] for line in lines if '"name"' in line]
    assert names[:3] == ["layers[0]", "layers[1]", "layers[2]"]
    assert names[3:] == sorted(names[3:])
    assert not any(word in text for word in ("timing", "jax", '"line"'))


def test_writing_replaces_its_targets_keeps_others_and_drops_those_without_a_file(tmp_path) -> None:
    file = str(tmp_path / "base.json")
    (tmp_path / "b.py").touch()
    (tmp_path / "c.py").touch()
    entry = entry_of(report(finding()))
    baseline_file.save(
        file, {"b.py": entry, "c.py:tiny": entry, "gone.py": entry, "package.module:net": entry}
    )
    baseline_file.save(file, {"b.py": entry_of(report())})
    assert sorted(baseline_file.load(file)) == ["b.py", "c.py:tiny", "package.module:net"]
    assert baseline_file.load(file)["b.py"].findings == ()


def test_a_target_has_one_name_from_every_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/net.py").touch()
    file = str(tmp_path / "base.json")
    monkeypatch.chdir(tmp_path)
    from_above = baseline_file.key_of("models/net.py:tiny", "base.json")
    monkeypatch.chdir(tmp_path / "models")
    assert {from_above, baseline_file.key_of("net.py:tiny", file)} == {"models/net.py:tiny"}
    assert baseline_file.key_of("package.module:net", file) == "package.module:net"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"kind": "gradscope-baseline", "format": 1}',
        "\xff",
        '{"format": 1, "layers": []}',
    ]
    + [
        '{"kind": "gradscope-baseline", "format": 1, "targets": {"a": {"layers": [], "findings": [{'
        f'"rule": "r", "text": "", "votes": {{"found": {found}, "of": {of}}}}}]}}}}}}'
        for found, of in ((-1, 5), (6, 5), (1, 10**400))
    ]
    + [
        f'{{"kind": "gradscope-baseline", "format": 1, "targets": {targets}}}'
        for targets in ("[]", '{"a": 1}', '{"a": {"findings": [1], "layers": []}}', '{"a": {"layers": []}}')
    ],
)
def test_what_is_no_baseline_is_refused_and_left_as_it_is(text: str, tmp_path) -> None:
    file = tmp_path / "base.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(GradscopeError) as error:
        baseline_file.load(str(file))
    assert error.value.slug == "unreadable-baseline"
    if text:
        with pytest.raises(GradscopeError):
            baseline_file.save(str(file), {})
        assert file.read_bytes() == text.encode("latin-1")


def test_another_format_is_refused_by_its_number(tmp_path) -> None:
    file = tmp_path / "base.json"
    file.write_text('{"kind": "gradscope-baseline", "format": 2, "targets": {}}', encoding="utf-8")
    with pytest.raises(GradscopeError, match="format 2, and this gradscope reads format 1"):
        baseline_file.load(str(file))


def test_in_ci_a_baseline_is_not_written(tmp_path, monkeypatch) -> None:
    file = str(tmp_path / "base.json")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(GradscopeError) as error:
        baseline_file.check_writable(file)
    assert error.value.slug == "baseline-in-ci"
    for no in ("", "0", "false", "False"):
        monkeypatch.setenv("CI", no)
        baseline_file.check_writable(file)

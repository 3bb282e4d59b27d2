"""JUnit XML, read back by a reader of it."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import junitparser
import pytest

from gradscope.records import (
    GradientCheck,
    Measurement,
    Outcome,
    Policy,
    Report,
    Suite,
    Verdict,
    Verification,
)
from gradscope.report.shared.glyphs import visible
from tests.report.canned import HOSTILE, broken, deep, healthy
from tests.report.pages import compare, shown
from tests.report.runs import RUNS, beside_baseline, crowd, several

XML = re.compile(r"[\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]*")


def read(run: Report | Suite) -> junitparser.JUnitXml:
    return junitparser.JUnitXml.fromstring(shown(run, "junit").encode("utf-8"))


def cases(run: Report | Suite) -> dict[str, junitparser.TestCase]:
    return {case.name: case for suite in read(run) for case in suite}


@pytest.mark.parametrize("name", RUNS)
def test_a_reader_counts_what_the_file_says(name: str) -> None:
    root = read(RUNS[name])
    said = [(each.tests, each.failures, each.errors, each.skipped) for each in root]
    root.update_statistics()
    assert said == [(each.tests, each.failures, each.errors, each.skipped) for each in root]
    assert [suite.name for suite in root] == [visible(each.target) for each in RUNS[name].outcomes]
    assert all(len(suite) for suite in root)


@pytest.mark.parametrize("name", ["healthy", "broken", "baseline"])
def test_it_reads_as_the_golden_file_does(name: str) -> None:
    compare(f"junit_{name}.txt", shown(RUNS[name], "junit"))


def test_every_layer_without_a_finding_passes() -> None:
    assert [case.name for case in read(healthy()).__iter__().__next__()] == [f"layers[{i}]" for i in range(4)]
    passing = [case for case in cases(deep()).values() if case.is_passed]
    assert len(passing) == 99


def test_there_is_a_case_for_each_layer_and_each_rule_that_judged_it() -> None:
    rules = ("vanishing-gradient", "zero-gradient")
    sick = replace(deep(), rules=rules)
    found = cases(sick)
    assert set(found) == {f"{layer.name}: {rule}" for layer in deep().flow.layers for rule in rules}
    assert sum(case.is_failure for case in found.values()) == 1
    mended = cases(replace(sick, findings=()))
    assert mended.keys() == found.keys()
    assert all(case.is_passed for case in mended.values())


def test_what_the_policy_names_fails_and_nothing_else() -> None:
    failing = {name for name, case in cases(broken()).items() if case.is_failure}
    assert failing == {"head: non-finite"}
    noted = cases(Suite.of(broken(), Policy(("note",))))
    assert sum(case.is_failure for case in noted.values()) == 3
    never = cases(Suite.of(broken(), Policy(())))
    assert not any(case.is_failure for case in never.values())
    assert "error non-finite" in never["head: non-finite"].system_out


def test_what_the_baseline_knows_is_skipped() -> None:
    found = cases(beside_baseline())
    names = [f"encoder.blocks[{i}].mlp: vanishing-gradient" for i in range(3)]
    assert [found[name].is_failure for name in names] == [True, False, True]
    assert found[names[1]].is_skipped
    assert found[names[1]].result[0].message == "in the baseline"


def test_a_target_that_was_not_judged_is_an_error() -> None:
    errors = [case for suite in read(several()) for case in suite if case.is_error]
    assert [case.result[0].type for case in errors] == ["input", "timeout", "killed"]
    assert errors[1].classname == "pkg.models:tiny"


def test_findings_that_are_alike_have_names_of_their_own() -> None:
    one = broken().findings[0]
    names = [name for name in cases(replace(broken(), findings=(one,) * 3)) if "blocked" in name]
    assert [name.rpartition("gradient")[2] for name in names] == ["", " (2)", " (3)"]


def test_a_verified_parameter_is_a_test_case() -> None:
    check = GradientCheck("w", "", Verdict.RIGHT, "", "", 4, 1.0, 1.0, 0.0, 1e-3, 0.1, "float32")
    unsure = replace(check, parameter="b", verdict=Verdict.CANNOT_JUDGE)
    verified = Verification(1.0, (check, unsure))
    assert list(cases(replace(healthy(), flow=None, gradients=verified))) == ["w"]
    assert list(cases(replace(healthy(), flow=Measurement(1.0, (), ())))) == ["the run as a whole"]


def test_no_character_is_left_that_xml_does_not_have() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert XML.fullmatch(visible(everything))
    text = shown(several(), "junit")
    assert text.isascii()
    assert HOSTILE.split("\x1b")[0] in text


def test_a_deep_model_stays_small() -> None:
    root = read(crowd())
    assert (root.tests, root.failures) == (2000, 200)
    assert len(shown(crowd(), "junit")) < 500_000


def test_time_is_left_out_where_none_is_known() -> None:
    bare = Outcome("m.py", replace(healthy(), timing=replace(healthy().timing, load_s=0.0, trace_s=0.0)))
    assert 'time="2.412"' in shown(Suite((bare,)), "junit")
    assert "time=" not in shown(Suite.of(replace(healthy(), timing=type(healthy().timing)())), "junit")

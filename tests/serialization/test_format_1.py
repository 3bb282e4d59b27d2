"""Files that gradscope wrote in format 1 are read as what they say, and written again in format 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gradscope.errors import GradscopeError
from gradscope.gate import policy
from gradscope.records import BaselineStatus, FailureKind, Policy, Report, Suite, Verdict
from gradscope.serialization import suite_json
from tests.serialization.test_json_schema import validator

FILES = Path(__file__).parent / "format_1"


def suite(name: str) -> Suite:
    return suite_json.load(str(FILES / f"{name}.json"), Policy())


def report(name: str) -> Report:
    only = suite(name).only
    assert only is not None
    return only


def test_a_check_keeps_its_layers_gradients_and_baseline() -> None:
    old = report("check")
    assert old.flow is not None
    assert [layer.nonzero_after_steps for layer in old.flow.layers] == [None, True]
    assert [entry.what for entry in old.flow.unseen] == ["custom_call at model.py:30"]
    assert old.flow.custom_rules is None
    assert old.gradients is not None
    assert [check.verdict for check in old.gradients.leaves] == [Verdict.RIGHT]
    assert [check.function for check in old.gradients.custom_rules] == ["swish"]
    assert old.gradients.transposition is not None
    assert old.baseline is not None
    assert old.baseline.file == "base.json"
    assert [known.rule for known in old.baseline.fixed] == ["zero-gradient"]
    assert (old.optimizers, old.rates) == (None, None)


def test_its_findings_notes_and_gaps_stand_where_they_belong() -> None:
    old = report("check")
    status = [finding.baseline_status for finding in old.findings]
    assert status == [BaselineStatus.NEW, BaselineStatus.UNCHANGED, BaselineStatus.WORSE]
    assert [finding.votes.found for finding in old.minority_findings if finding.votes] == [1]
    assert old.notes == ("params are float64: JAX makes them float32",)
    assert [entry.what for entry in old.skipped] == ["zero-gradient"]
    assert suite("check").outcomes[0].policy.fail_on == ("error", "vanishing-gradient")
    assert policy.exit_code(suite("check")) == 1


def test_a_comparison_has_no_flow() -> None:
    old = report("compare_optimizers")
    assert (old.flow, old.gradients, old.rates) == (None, None, None)
    assert old.optimizers is not None
    assert [row.summary for row in old.optimizers.contestants] == ["Lowest loss."] * 3
    assert old.loss == 2.0


def test_each_target_of_a_suite_is_read() -> None:
    model, searched, missing = suite("suite").outcomes
    assert model.report is not None
    assert model.report.flow is not None
    assert searched.report is not None
    assert searched.report.rates is not None
    assert searched.report.flow is None
    assert missing.error is not None
    assert missing.error.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize("name", ["check", "compare_optimizers", "suite"])
def test_what_is_written_again_is_of_format_2(name: str) -> None:
    written = json.loads(suite_json.dumps(suite(name)))
    assert written["format"] == 2
    assert [error.message for error in validator(strict=True).iter_errors(written)] == []
    assert repr(suite_json.from_json(written, Policy())) == repr(suite(name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.update(skipped=7), '"skipped" is not a list of objects'),
        (lambda data: data.update(findings=[3]), '"findings" is not a list of objects'),
        (lambda data: data.update(near={}), '"near" is not a list of objects'),
        (lambda data: data.update(layers="many"), '"layers" is not a list of objects'),
        (lambda data: data.update(against=[]), '"the report.baseline" is not an object'),
        (lambda data: data["layers"][0].pop("size"), '"the report.flow.layers[0].size" is missing'),
        (lambda data: data["findings"][0].update(standing="weird"), "no report has"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(change: Any, said: str) -> None:
    data = json.loads((FILES / "check.json").read_text(encoding="utf-8"))
    change(data)
    with pytest.raises(GradscopeError) as caught:
        suite_json.loads(json.dumps(data), Policy())
    assert said in caught.value.why

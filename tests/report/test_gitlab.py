"""Code quality of GitLab, against its documented fields."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from gradscope.records import Report, Skipped, Source, Suite
from tests.report.canned import broken, deep, healthy
from tests.report.pages import compare, shown
from tests.report.runs import RUNS, beside_baseline, crowd, moved, several

SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "additionalProperties": False,
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "additionalProperties": False,
                "properties": {
                    "path": {"type": "string", "pattern": r"^(?!\./)."},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}
"""docs.gitlab.com/ci/testing/code_quality: a path is relative, without `./` before it."""


def issues(run: Report | Suite) -> list[dict[str, Any]]:
    found = json.loads(shown(run, "gitlab"))
    jsonschema.validate(found, SCHEMA)
    assert len({issue["fingerprint"] for issue in found}) == len(found), "it drops one of two that are alike"
    return list(found)


@pytest.mark.parametrize("name", RUNS)
def test_every_finding_is_an_issue_of_its_own(name: str) -> None:
    found = [issue for issue in issues(RUNS[name]) if issue["check_name"] != "not-judged"]
    assert len(found) == sum(len(report.findings) for report in RUNS[name].reports)
    assert all(issue["description"].isprintable() for issue in found)


@pytest.mark.parametrize("name", ["broken", "several"])
def test_it_reads_as_the_golden_file_does(name: str) -> None:
    compare(f"gitlab_{name}.txt", shown(RUNS[name], "gitlab"))


def test_a_fingerprint_stays_where_lines_move() -> None:
    before, after = issues(crowd(3, 4)), issues(moved(crowd(3, 4)))
    assert [each["fingerprint"] for each in before] == [each["fingerprint"] for each in after]
    assert before[0]["location"] != after[0]["location"]


def test_severities_have_names_of_gitlab() -> None:
    found = {issue["check_name"]: issue["severity"] for issue in issues(broken())}
    assert found["non-finite"] == "major"
    assert found["blocked-gradient"] == "minor"
    assert found["exploding-through-time"] == "info"


def test_the_rule_and_the_layer_stand_in_the_description() -> None:
    (issue,) = issues(deep())
    assert issue["description"].startswith("vanishing-gradient in encoder.blocks[0].mlp: δ shrinks")
    assert "(in the baseline, in 4 of 5 seeds)" in issues(beside_baseline())[1]["description"]


def test_what_was_not_judged_is_told() -> None:
    missing = [issue for issue in issues(several()) if issue["severity"] == "critical"]
    assert [issue["location"]["path"] for issue in missing][1:] == ["pkg/models.py", "../outside/model.py"]
    noted = replace(healthy(), notes=("a cast",), skipped=(Skipped("zero-gradient", "no optimizer"),))
    (left_out,) = issues(noted)
    assert left_out["description"] == "model.py: not judged: zero-gradient: no optimizer"


def test_a_path_has_no_dot_before_it() -> None:
    finding = replace(deep().findings[0], source=Source("./models/a.py", 3))
    assert issues(replace(deep(), findings=(finding,)))[0]["location"]["path"] == "models/a.py"

"""Runs of several targets: their verdict, their exit code, and their JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gradscope.errors import GradscopeError
from gradscope.gate import policy
from gradscope.records import BaselineStatus, FailureKind, Outcome, Policy, Report, Suite, TargetError
from gradscope.serialization import report_json, suite_json
from gradscope.serialization.report_json import rounded
from tests.report.canned import broken, deep, healthy


def missing(trouble: FailureKind = FailureKind.INPUT) -> Outcome:
    return Outcome("absent.py", error=TargetError(trouble, "There is no file.", fix="Check its name."))


def outcome(report: Report, *fail_on: str) -> Outcome:
    return Outcome(report.target, rounded(report), policy=Policy(fail_on or ("error",)))


def several() -> Suite:
    return Suite((outcome(healthy()), missing(), outcome(deep(), "non-finite"), outcome(broken())))


@pytest.mark.parametrize(
    ("outcomes", "verdict", "code"),
    [
        ((outcome(healthy()),), "healthy", 0),
        ((outcome(healthy()), missing()), "not judged", 2),
        ((missing(FailureKind.TIMEOUT),), "not judged", 2),
        ((missing(FailureKind.KILLED), missing(FailureKind.BUG)), "not judged", 3),
        ((missing(FailureKind.BUG), outcome(deep())), "sick", 1),
        ((outcome(deep(), "non-finite"), outcome(healthy())), "sick", 0),
        ((), "healthy", 0),
    ],
)
def test_one_verdict_and_one_code_for_all(outcomes: tuple[Outcome, ...], verdict: str, code: int) -> None:
    suite = Suite(outcomes)
    assert (suite.verdict, policy.exit_code(suite)) == (verdict, code)


def test_what_the_baseline_knows_does_not_fail() -> None:
    known = tuple(replace(finding, baseline_status=BaselineStatus.UNCHANGED) for finding in deep().findings)
    worse = tuple(replace(finding, baseline_status=BaselineStatus.WORSE) for finding in deep().findings)
    assert policy.exit_code(Suite.of(replace(deep(), findings=known))) == 0
    assert policy.exit_code(Suite.of(replace(deep(), findings=worse))) == 1


def test_a_suite_comes_back_as_it_was() -> None:
    suite = several()
    back = suite_json.loads(suite_json.dumps(suite), Policy())
    assert repr(back) == repr(suite)
    assert suite_json.dumps(back) == suite_json.dumps(suite)


def test_one_target_asked_for_by_itself_is_the_report() -> None:
    suite = Suite.of(rounded(deep()), Policy(("warning",)))
    assert json.loads(suite_json.dumps(suite))["target"] == deep().target
    assert repr(suite_json.loads(suite_json.dumps(suite), Policy())) == repr(suite)


def test_a_report_of_before_is_judged_by_the_policy_at_hand() -> None:
    policy = Policy(("note",))
    assert suite_json.loads(report_json.dumps(deep()), policy).outcomes[0].policy == policy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.update(targets={}), "not a list"),
        (lambda data: data["targets"].append(3), "targets[4]"),
        (lambda data: data["targets"][0].pop("fail_on"), "targets[0]"),
        (lambda data: data["targets"][1]["error"].pop("what"), "error.what"),
        (lambda data: data.update(format=9), "format 9"),
    ],
)
def test_a_file_that_is_no_suite_says_where(change: object, said: str) -> None:
    data = suite_json.to_json(several())
    change(data)  # type: ignore[operator]
    with pytest.raises(GradscopeError) as caught:
        suite_json.loads(json.dumps(data), Policy(), "run.json")
    assert said in str(caught.value)

"""The gate: which findings fail a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.errors import GradscopeError
from gradscope.gate import policy
from gradscope.records import Finding, Report, Severity, Suite
from tests.report.canned import healthy

RULES = ("dead-units", "exploding-gradient", "non-finite")


def with_finding(rule: str, severity: Severity) -> Report:
    return replace(healthy(), findings=(Finding(rule, severity, None, None, None, "", {}, ""),))


@pytest.mark.parametrize(
    ("fail_on", "severity", "code"),
    [
        ("error", Severity.ERROR, 1),
        ("error", Severity.WARNING, 0),
        ("warning", Severity.ERROR, 1),
        ("warning", Severity.WARNING, 1),
        ("warning", Severity.NOTE, 0),
        ("note", Severity.NOTE, 1),
        ("never", Severity.ERROR, 0),
        ("dead-units", Severity.NOTE, 1),
        ("non-finite", Severity.ERROR, 0),
        ("non-finite,dead-units", Severity.NOTE, 1),
        (" error , non-finite ", Severity.ERROR, 1),
    ],
)
def test_a_finding_fails_at_its_severity_or_by_its_name(fail_on: str, severity: Severity, code: int) -> None:
    assert (
        policy.exit_code(Suite.of(with_finding("dead-units", severity), policy.parse(fail_on, RULES))) == code
    )


def test_a_report_without_findings_passes_every_policy() -> None:
    for text in ("error", "note", "never", "dead-units"):
        assert policy.exit_code(Suite.of(healthy(), policy.parse(text, RULES))) == 0


def test_the_default_fails_on_errors() -> None:
    assert policy.Policy() == policy.parse("error", RULES)


@pytest.mark.parametrize(
    ("text", "near"),
    [("eror", '"error"'), ("exploding-gradients", '"exploding-gradient"'), ("non_finite", '"non-finite"')],
)
def test_an_unknown_name_is_answered_with_the_nearest(text: str, near: str) -> None:
    with pytest.raises(GradscopeError) as caught:
        policy.parse(f"warning,{text}", RULES)
    assert f'"{text}"' in caught.value.what
    assert near in caught.value.fix


@pytest.mark.parametrize("text", ["", " , ", "never,error"])
def test_a_policy_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(GradscopeError, match="what to fail on"):
        policy.parse(text, RULES)

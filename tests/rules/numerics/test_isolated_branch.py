"""isolated-branch: one finding a line, with the numbers. Records only: no JAX."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import IsolatedBranch, Severity
from tests.rules.made import found, layer, measured, parameter, source

BRANCH = IsolatedBranch("eq", source(7), ("a",), 3, 5, 0.5, 1.25, 0.01)


def told(*branches):
    return found(
        measured([layer("a", 0)], [parameter("a"), parameter("b")], isolated_branches=branches),
        "isolated-branch",
    )


def test_the_share_and_both_derivatives_are_named():
    (finding,) = told(BRANCH)
    assert (finding.severity, finding.layer, finding.parameter) == (Severity.WARNING, "a", "a")
    assert "3 elements of 5 compare equal here, and none where `a` is moved by up to 1%" in finding.message
    assert "backpropagation gives 0.5, and differences across the point 1.25" in finding.message


def test_tests_at_one_line_are_one_finding():
    (finding,) = told(BRANCH, replace(BRANCH, parameters=("b",), equal=1))
    assert "4 elements of 10" in finding.message
    assert "where `a` and `b` are moved" in finding.message
    assert finding.parameter is None


def test_nothing_found_is_nothing_said():
    assert told() == []

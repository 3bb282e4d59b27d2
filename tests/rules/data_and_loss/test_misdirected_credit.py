"""misdirected-credit: what is told of each kind, and how gravely."""

from __future__ import annotations

from typing import Any

import pytest

from gradscope.records import MisdirectedCredit, Misdirection, Objective, Severity
from tests.rules.made import found, layer, measured, source

RULE = "misdirected-credit"
ERRORS = {"averaged", "every-choice", "other-rows", "only-fillers"}


def told(*credits: MisdirectedCredit) -> list[Any]:
    return found(measured([layer("head", 1)], objective=Objective(misdirected=credits)), RULE)


def credit(kind: Misdirection, **fields: Any) -> MisdirectedCredit:
    return MisdirectedCredit(kind, source(7, "return loss"), ("head",), **fields)


def test_a_loss_without_any_is_quiet() -> None:
    assert told() == []


@pytest.mark.parametrize("kind", Misdirection, ids=[kind.value for kind in Misdirection])
def test_each_kind_has_its_line_its_layer_a_remedy_and_its_severity(kind: Misdirection) -> None:
    (finding,) = told(credit(kind, count=12, share=0.5))
    expected = Severity.ERROR if kind.value in ERRORS else Severity.WARNING
    assert (finding.severity, finding.layer, finding.source) == (expected, "head", source(7, "return loss"))
    assert finding.message.endswith(".")
    assert finding.remedy.endswith(".")
    assert finding.evidence["kind"] == kind.value


def test_numbers_stand_in_the_message() -> None:
    (target,) = told(credit(Misdirection.TARGET, discount=0.99))
    assert "its own value (`head`)" in target.message
    assert target.evidence["discount"] == 0.99
    (mean,) = told(credit(Misdirection.AVERAGED, count=200))
    assert "reduced over 200 rows" in mean.message
    (end,) = told(credit(Misdirection.UNENDED, count=40, share=0.0391, discount=0.98, name="done"))
    assert "0.98 times the next value in every row, and the loss does not read `done`" in end.message
    assert "40 (3.9%) of them ones" in end.message
    assert end.evidence["name"] == "done"
    (past,) = told(credit(Misdirection.PAST, count=10, discount=0.7, name="reward"))
    assert "by sums of `reward` from the first of 10 steps on, with 0.7 times" in past.message
    (fillers,) = told(credit(Misdirection.FILLERS, count=30, share=0.86))
    assert fillers.message.startswith("86% of the labels")

"""returned-messages: what is told of rows that get themselves back."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Finding, ReturnedMessages, Severity, Structure, TriedVariant
from gradscope.rules import Parts, judge
from tests.rules.made import layer, measured, source
from tests.rules.training.made import trained

BACK = ReturnedMessages(source(32), "sage", messages=3000, senders=956, rows=1000)


BETTER = TriedVariant(100, start_without=1.3, end_without=0.82, start=1.2, end=0.07)


def told(*messages: ReturnedMessages, tried: TriedVariant | None = None) -> list[Finding]:
    structure = Structure(returned_messages=messages, received=tried)
    parts = Parts(measured([layer("sage", 1)], structure=structure), training=trained())
    return list(judge(parts, select=("returned-messages",))[0])


def test_nothing_is_told_of_none() -> None:
    assert told() == []


def test_they_are_a_warning_with_the_number_of_rows_and_messages() -> None:
    (finding,) = told(BACK, BACK)
    assert (finding.severity, finding.layer, finding.source) == (Severity.WARNING, "sage", source(32))
    assert "3,000 rows are gathered from 1,000" in finding.message
    assert "each of 956 rows gets itself back" in finding.message
    assert "The same holds for 1 more." in finding.message


def test_what_trains_with_the_other_index_is_an_error() -> None:
    (finding,) = told(BACK, tried=BETTER)
    assert finding.severity is Severity.ERROR
    assert "With the other index of the batch, 100 steps of your optimizer" in finding.message
    assert told(BACK, tried=replace(BETTER, end=0.8))[0].severity is Severity.WARNING

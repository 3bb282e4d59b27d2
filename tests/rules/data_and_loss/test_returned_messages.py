"""returned-messages: what is told of rows that get themselves back."""

from __future__ import annotations

from gradscope.records import Finding, ReturnedMessages, Severity, Structure
from tests.rules.made import found, layer, measured, source

BACK = ReturnedMessages(source(32), "sage", messages=3000, senders=956, rows=1000)


def told(*messages: ReturnedMessages) -> list[Finding]:
    structure = Structure(returned_messages=messages)
    return found(measured([layer("sage", 1)], structure=structure), "returned-messages")


def test_nothing_is_told_of_none() -> None:
    assert told() == []


def test_they_are_a_warning_with_the_number_of_rows_and_messages() -> None:
    (finding,) = told(BACK, BACK)
    assert (finding.severity, finding.layer, finding.source) == (Severity.WARNING, "sage", source(32))
    assert "3,000 rows are gathered from 1,000" in finding.message
    assert "each of 956 rows gets itself back" in finding.message
    assert "The same holds for 1 more." in finding.message

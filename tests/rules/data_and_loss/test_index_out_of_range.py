"""index-out-of-range: what is told of labels and of tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradscope.records import Finding, IndexRange, Objective, Severity
from tests.rules.made import chain, found, source

RULE = "index-out-of-range"


def told(**fields: Any) -> list[Finding]:
    defaults: dict[str, Any] = {
        "source": source(7),
        "layer": "layers[0]",
        "one_hot": False,
        "labels": False,
        "places": 10,
        "smallest": 0,
        "largest": 12,
        "outside": 30,
        "values": 3,
        "total": 100,
    }
    flow = replace(chain([1.0] * 2), objective=Objective(index_ranges=(IndexRange(**(defaults | fields)),)))
    return found(flow, RULE)


def test_tokens_are_told_with_their_range() -> None:
    (finding,) = told()
    assert (finding.severity, finding.layer, finding.source) == (Severity.ERROR, "layers[0]", source(7))
    assert "30 of the 100 indices into a table of 10 rows are out of range" in finding.message
    assert "Give the table 13 rows" in finding.remedy


def test_a_single_value_is_a_warning() -> None:
    (finding,) = told(values=1, largest=10)
    assert finding.severity is Severity.WARNING


def test_labels_are_told_only_where_they_run_from_one_to_the_number_of_classes() -> None:
    labels = {"labels": True, "one_hot": True, "places": 4, "smallest": 1, "largest": 4, "values": 1}
    (finding,) = told(**labels)
    assert "30 of 100 labels are a row of zeros in their one-hot" in finding.message
    (finding,) = told(**labels | {"one_hot": False})
    assert "taken for class 3" in finding.message
    assert told(**labels | {"smallest": 0}) == []
    assert told(**labels | {"largest": 255}) == []

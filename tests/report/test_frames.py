"""The tables of a report as data frames: the same numbers as its records, each column of one type."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import pytest

import gradscope  # noqa: F401, it names what draws and shows a report
from gradscope.errors import GradscopeError
from gradscope.records import Report
from gradscope.report.frames import LIBRARIES, TABLES, table
from tests.report.canned import broken, compared, deep, monitored


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


def values(frame: Any, column: str) -> list[Any]:
    """`None` for what is missing, in either library."""
    found = frame[column].to_list()
    return [None if type(value).__name__ in ("NAType", "NaTType") else value for value in found]


def types(frame: Any) -> list[str]:
    return [str(frame[column].dtype) for column in frame.columns]


def test_a_frame_has_the_numbers_of_the_layers(library: str) -> None:
    report = deep(12)
    frame = report.to_frame(library=library)
    assert values(frame, "name") == [layer.name for layer in report.flow.layers]
    assert values(frame, "delta_rms") == [layer.delta_rms for layer in report.flow.layers]
    assert values(frame, "source_line") == [
        None if layer.source is None else layer.source.line for layer in report.flow.layers
    ]
    assert [tuple(each) for each in frame["parameters"]] == [layer.parameters for layer in report.flow.layers]


def test_what_was_not_measured_is_missing_and_what_is_infinite_is_infinite(library: str) -> None:
    layers = broken().flow.layers
    found = values(broken().to_frame("layers", library), "delta_rms")
    assert any(layer.delta_rms is None for layer in layers)
    for layer, value in zip(layers, found, strict=True):
        if layer.delta_rms is None:
            assert value is None if library == "polars" else math.isnan(value)
        else:
            assert value == pytest.approx(layer.delta_rms, nan_ok=True)


@pytest.mark.parametrize("what", ["layers", "parameters", "findings", "evidence"])
def test_a_column_has_one_type_also_without_rows(library: str, what: str) -> None:
    report = broken()
    bare = replace(report, findings=(), flow=replace(report.flow, layers=(), parameters=()))
    some, none = report.to_frame(what, library), bare.to_frame(what, library)
    assert (len(none), list(none.columns), types(none)) == (0, list(some.columns), types(some))


def test_findings_and_the_numbers_behind_them(library: str) -> None:
    report = broken()
    findings, evidence = report.to_frame("findings", library), report.to_frame("evidence", library)
    assert values(findings, "rule") == [finding.rule for finding in report.findings]
    assert values(findings, "severity") == [finding.severity.value for finding in report.findings]
    given = [(place, name) for place, each in enumerate(report.findings) for name in each.evidence]
    assert list(zip(values(evidence, "finding"), values(evidence, "quantity"), strict=True)) == given


def test_the_steps_of_a_training(library: str) -> None:
    report = monitored()
    frame = report.to_frame("steps", library)
    assert values(frame, "quantity") == [row["quantity"] for row in report.history.to_rows()]
    assert values(frame, "low") == pytest.approx(
        [row["low"] for row in report.history.to_rows()], nan_ok=True
    )


def test_no_field_of_a_layer_or_a_parameter_gets_lost() -> None:
    """But tuples of records, which a cell has no room for."""
    report = broken()
    for what, records in (("layers", report.flow.layers), ("parameters", report.flow.parameters)):
        columns, _ = table(report, what)
        fields = set(type(records[0]).__dataclass_fields__) - {"cuts"}
        assert {field for field in fields if not any(name.startswith(field) for name in columns)} == set()


def test_pandas_comes_first_and_polars_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    assert type(deep(3).to_frame()).__module__.startswith("pandas")
    pytest.importorskip("polars")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert type(deep(3).to_frame()).__module__.startswith("polars")


def test_without_either_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(GradscopeError, match="pandas or polars is needed to make a data frame") as caught:
        deep(3).to_frame()
    assert "gradscope-jax[frames]" in caught.value.fix


@pytest.mark.parametrize(
    ("report", "given", "said"),
    [
        (deep(3), {"what": "layer"}, 'There is no table "layer"'),
        (deep(3), {"what": "steps"}, "This report has no steps"),
        (compared(), {}, "This report has no layers"),
        (deep(3), {"library": "spark"}, 'There is no library "spark"'),
    ],
)
def test_what_there_is_not_is_an_error_that_names_what_there_is(
    report: Report, given: dict[str, str], said: str
) -> None:
    with pytest.raises(GradscopeError, match=said) as caught:
        report.to_frame(**given)
    assert any(name in caught.value.fix for name in (*TABLES, *LIBRARIES))

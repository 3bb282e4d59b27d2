"""The records of a report as data frames of pandas or polars, with all digits.

A column has one type whatever was measured, also in a table without rows: it is read from the annotations
of the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from gradscope.errors import GradscopeError
from gradscope.records import Finding, Layer, Parameter, Report
from gradscope.report.shared.optional import imported

Columns = Mapping[str, type]
Row = dict[str, Any]
LIBRARIES = ("pandas", "polars")
"""The first that is installed is taken."""
STEPS: Columns = {
    "step": int, "last_step": int, "layer": str, "quantity": str, "low": float, "high": float,
}  # fmt: skip
EVIDENCE: Columns = {
    "finding": int, "rule": str, "layer": str, "parameter": str, "quantity": str, "value": float, "text": str,
}  # fmt: skip


def frame(report: Report, what: str = "layers", library: str | None = None) -> Any:
    """A `pandas.DataFrame` or a `polars.DataFrame`. Raises `GradscopeError` where there is no such table in
    this report, or no such library."""
    columns, rows = table(report, what)
    if library is not None and library not in LIBRARIES:
        raise GradscopeError(
            f'There is no library "{library}" of data frames.',
            fix=f"Use one of: {', '.join(LIBRARIES)}.",
            slug="bad-option",
        )
    module = imported(LIBRARIES if library is None else (library,), "make a data frame", "frames")
    return (_pandas if module.__name__ == "pandas" else _polars)(module, columns, rows)


def table(report: Report, what: str) -> tuple[Columns, list[Row]]:
    """The columns with their types, and the rows; `None` is what was not measured."""
    if what not in TABLES:
        raise GradscopeError(
            f'There is no table "{what}" in a report.',
            fix=f"Use one of: {', '.join(TABLES)}.",
            slug="bad-option",
        )
    found = TABLES[what](report)
    if found is None:
        known = [name for name, of in TABLES.items() if of(report) is not None]
        raise GradscopeError(
            f"This report has no {what}.",
            why="The run that made it did not measure them.",
            fix=f"It has {', '.join(known)}.",
            slug="bad-option",
        )
    return found


def _of_records(kind: type, records: Sequence[Any]) -> tuple[Columns, list[Row]]:
    return dict(_columns(kind)), [dict(_cells(each)) for each in records]


def _columns(kind: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """A field of a record within a record is one column, `source_line`; tuples of records have none."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        meant = _meant(hints[field.name])
        if isinstance(meant, type) and is_dataclass(meant):
            yield from _columns(meant, f"{prefix}{field.name}_")
        elif meant is not None:
            yield f"{prefix}{field.name}", meant


def _meant(annotation: Any) -> Any:
    """`float` for `float | None`, `str` for an enumeration of texts, `tuple` for a tuple of plain values, and
    `None` for what has no column."""
    if get_origin(annotation) is tuple:
        return None if is_dataclass(get_args(annotation)[0]) else tuple
    kinds = [annotation]
    if get_origin(annotation) in (Union, UnionType):
        kinds = [each for each in get_args(annotation) if each is not NoneType]
    if len(kinds) > 1 or not isinstance(kinds[0], type) or get_origin(kinds[0]) is not None:
        return None
    return str if issubclass(kinds[0], str) else kinds[0]


def _cells(record: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            yield from _cells(value, f"{prefix}{field.name}_")
        else:
            yield f"{prefix}{field.name}", str(value) if isinstance(value, str) else value


def _layers(report: Report) -> tuple[Columns, list[Row]] | None:
    return None if report.flow is None else _of_records(Layer, report.flow.layers)


def _parameters(report: Report) -> tuple[Columns, list[Row]] | None:
    return None if report.flow is None else _of_records(Parameter, report.flow.parameters)


def _findings(report: Report) -> tuple[Columns, list[Row]]:
    return _of_records(Finding, report.findings)


def _evidence(report: Report) -> tuple[Columns, list[Row]]:
    """A row for each number of each finding; `finding` is the place of its row among the findings."""
    rows = []
    for place, finding in enumerate(report.findings):
        for quantity, given in finding.evidence.items():
            is_text = isinstance(given, str)
            rows.append(
                {
                    "finding": place,
                    "rule": finding.rule,
                    "layer": finding.layer,
                    "parameter": finding.parameter,
                    "quantity": quantity,
                    "value": None if is_text else float(given),
                    "text": given if is_text else None,
                }
            )
    return EVIDENCE, rows


def _steps(report: Report) -> tuple[Columns, list[Row]] | None:
    return None if report.history is None else (STEPS, report.history.to_rows())


TABLES: Mapping[str, Callable[[Report], tuple[Columns, list[Row]] | None]] = {
    "layers": _layers,
    "parameters": _parameters,
    "findings": _findings,
    "evidence": _evidence,
    "steps": _steps,
}


def _pandas(pandas: Any, columns: Columns, rows: list[Row]) -> Any:
    kinds = {float: "float64", int: "Int64", bool: "boolean", str: "string", tuple: "object"}
    return pandas.DataFrame(
        {
            name: pandas.Series([row.get(name) for row in rows], dtype=kinds[kind])
            for name, kind in columns.items()
        }
    )


def _polars(polars: Any, columns: Columns, rows: list[Row]) -> Any:
    kinds = {float: polars.Float64, int: polars.Int64, bool: polars.Boolean, str: polars.String}
    lists = {"parameters": polars.List(polars.String), "shape": polars.List(polars.Int64)}
    schema = {name: lists[name] if kind is tuple else kinds[kind] for name, kind in columns.items()}
    return polars.DataFrame(
        {name: [_listed(row.get(name)) for row in rows] for name in columns}, schema=schema
    )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

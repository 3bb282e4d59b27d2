"""The steps of a training as a table."""

from __future__ import annotations

import csv
import io
import math
import sys
from dataclasses import replace

import pytest

from gradscope.errors import GradscopeError
from gradscope.records import History, Report, StepRecord, Suite, Tool, ValidationRecord
from gradscope.report.exports import COLUMNS, exported
from tests.recording.made import history, step
from tests.report.canned import deep


def seen(steps: int = 3) -> History:
    def at(t: int) -> StepRecord:
        return step(t, loss=3.0 - t if t else math.inf, delta_rms=(0.5 + t, math.nan))

    return replace(history(steps, at), validation=(ValidationRecord(2, 1.5),))


def suite(of: History | None) -> Suite:
    return Suite.of(Report("run, with a comma", Tool("0", "0", "cpu"), history=of))


def table(of: History) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(exported(suite(of), "csv").decode())))


def test_every_known_number_is_a_row_and_what_was_not_measured_has_none() -> None:
    rows = table(seen())
    assert list(rows[0]) == list(COLUMNS)
    assert {row["target"] for row in rows} == {"run, with a comma"}
    of = {(row["quantity"], row["layer"], row["step"]): row for row in rows}
    assert of["loss", "", "0"]["high"] == "inf"
    assert ("mean_loss", "", "0") not in of
    assert (of["loss", "", "1"]["low"], of["mean_loss", "", "2"]["low"]) == ("2.0", "1.0")
    assert (of["delta_rms", "encoder", "2"]["low"], of["delta_rms", "encoder", "2"]["last_step"]) == (
        "2.5",
        "2",
    )
    assert not any(row["quantity"] == "delta_rms" and row["layer"] == "head" for row in rows)
    assert of["validation_loss", "", "2"]["high"] == "1.5"
    assert of["gradient_norm", "", "1"]["low"] == "1.0"


def test_merged_spans_have_their_extremes() -> None:
    row = next(row for row in seen(4000).to_rows() if row["quantity"] == "delta_rms" and row["step"] == 4)
    assert (row["last_step"], row["low"], row["high"]) == (7, 4.5, 7.5)


def test_parquet_has_the_same_rows() -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    found = parquet.read_table(pa.BufferReader(exported(suite(seen()), "parquet"))).to_pylist()
    assert [{**row, "target": None} for row in found] == [{"target": None, **row} for row in seen().to_rows()]


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(GradscopeError, match="pyarrow is needed") as caught:
        exported(suite(seen()), "parquet")
    assert "gradscope-jax[data]" in caught.value.fix


def test_a_run_that_is_no_training_cannot_be_exported() -> None:
    with pytest.raises(GradscopeError, match="no training in this run"):
        exported(Suite.of(deep()), "csv")

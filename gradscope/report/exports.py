"""The steps of a training as a table, for other programs: comma-separated values, or Parquet."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gradscope.errors import GradscopeError

if TYPE_CHECKING:
    from gradscope.records import Suite

COLUMNS = ("target", "step", "last_step", "layer", "quantity", "low", "high")


def exported(suite: Suite, name: str) -> bytes:
    """The content of a file of a format in `EXPORTS`. Raises `GradscopeError` where the run is no training,
    or the library of the format is not installed."""
    if not any(report.history for report in suite.reports):
        raise GradscopeError(
            "There is no training in this run to export.",
            why="A table has its steps: those of a recording, or of a run of `gradscope monitor`.",
            fix="Give a file that `gradscope monitor --record` or a `gradscope.Recorder` wrote.",
            slug="bad-option",
        )
    return EXPORTS[name](suite)


def _rows(suite: Suite) -> Iterator[Mapping[str, Any]]:
    for report in suite.reports:
        for row in report.history.to_rows() if report.history else ():
            yield {"target": report.target, **row}


def _as_csv(suite: Suite) -> bytes:
    import csv

    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(suite))
    return out.getvalue().encode("utf-8", errors="backslashreplace")


def _as_parquet(suite: Suite) -> bytes:
    try:
        pa, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    except ImportError as error:
        raise GradscopeError(
            "pyarrow is needed to write a Parquet file.",
            why=f"It cannot be imported by {sys.executable}: {error}.",
            fix="Install it: `pip install 'gradscope-jax[data]'`; `--export csv=FILE` needs nothing.",
            slug="missing-package",
        ) from None
    kinds = (pa.string(), pa.int64(), pa.int64(), pa.string(), pa.string(), pa.float64(), pa.float64())
    table = pa.Table.from_pylist(list(_rows(suite)), pa.schema(list(zip(COLUMNS, kinds, strict=True))))
    out = pa.BufferOutputStream()
    parquet.write_table(table, out)
    return bytes(out.getvalue().to_pybytes())


EXPORTS: dict[str, Callable[[Suite], bytes]] = {"csv": _as_csv, "parquet": _as_parquet}

"""CSV and Parquet through PyArrow: numbers, block by block; columns of anything else are refused by name."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data import npy
from gradscope.load.data.files.readers import Block, Streamed
from gradscope.load.extras import required
from gradscope.load.message_text import short_repr

ROWS = 8192
"""Rows of Parquet that are decoded at a time."""
BUFFER = 1 << 16
"""[bytes] of each of its columns that are read at a time."""


def csv_file(path: Path) -> Streamed:
    """Columns by the names in the first line; where that holds numbers they are called f0, f1, ..."""
    required("pyarrow", "data", f"read {path}")
    line = _first_line(path)
    delimiter = "\t" if "\t" in line else ";" if ";" in line and "," not in line else ","
    cells = next(csv.reader([line], delimiter=delimiter), [])
    headless = all(_is_number(cell) for cell in cells)
    names = tuple(f"f{i}" for i in range(len(cells))) if headless else tuple(cells)
    _require_unique(names, path)
    notes = (f"The first line of {path} holds numbers: its columns are called f0 to f{len(cells) - 1}.",)

    def blocks(wanted: Sequence[str], _seed: int | None) -> Iterator[Block]:
        for batch in _csv_batches(path, delimiter, headless, list(wanted)):
            yield _numbers(batch, path)

    return Streamed(path, names, blocks, notes if headless else (), text=True)


def parquet_file(path: Path) -> Streamed:
    """Row groups come in an order of their own for each seed: files are often sorted."""
    pa = required("pyarrow", "data", f"read {path}")
    parquet = required("pyarrow.parquet", "data", f"read {path}")
    failures = _failures(pa)
    try:
        with parquet.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            groups = file.metadata.num_row_groups
    except failures as error:
        raise npy.corrupt(str(path), str(error)) from None
    _require_unique(names, path)

    def blocks(wanted: Sequence[str], seed: int | None) -> Iterator[Block]:
        order = range(groups) if seed is None else np.random.default_rng(seed).permutation(groups).tolist()
        try:
            # Without a buffer the whole row group is read at once, and that is often the whole file.
            with parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
                for group in order:
                    for batch in file.iter_batches(ROWS, row_groups=[group], columns=list(wanted)):
                        yield _numbers(batch, path)
        except failures as error:
            raise npy.corrupt(str(path), str(error)) from None

    return Streamed(path, names, blocks)


def _csv_batches(path: Path, delimiter: str, headless: bool, wanted: list[str]) -> Iterator[Any]:
    reading = required("pyarrow.csv", "data", f"read {path}")
    failures = _failures(required("pyarrow", "data", f"read {path}"))
    try:
        with reading.open_csv(
            path,
            read_options=reading.ReadOptions(autogenerate_column_names=headless),
            parse_options=reading.ParseOptions(delimiter=delimiter),
            convert_options=reading.ConvertOptions(include_columns=wanted, strings_can_be_null=True),
        ) as reader:
            yield from reader
    except failures as error:
        raise GradscopeError(
            f"{path} cannot be read as a table.",
            why=f"{str(error).splitlines()[0].rstrip('.')}.",
            fix="Correct that line. The type of a column is taken from its first rows: write 1.0 for 1 where "
            "later ones have a fraction.",
            slug="corrupt-file",
        ) from None


def _failures(pa: Any) -> tuple[type[BaseException], ...]:
    """Looked up early: an unfinished pass is closed when the process ends, after PyArrow is unloaded."""
    return pa.ArrowException, OSError, UnicodeDecodeError


def _require_unique(names: Sequence[str], path: Path) -> None:
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise GradscopeError(
            f"{path} has two columns called `{twice}`.",
            why="Columns are chosen by name.",
            fix="Rename one of them.",
            slug="no-such-column",
        )


def _first_line(path: Path) -> str:
    if path.suffix == ".gz":
        import gzip

        with gzip.open(path) as file:
            raw = file.readline(1 << 20)
    else:
        with path.open("rb") as plain:
            raw = plain.readline(1 << 20)
    return raw.decode("utf-8-sig", errors="replace").rstrip("\r\n")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(batch: Any, path: Path) -> Block:
    return {name: _column(batch.column(name), name, path) for name in batch.schema.names}


def _column(column: Any, name: str, path: Path) -> np.ndarray[Any, Any]:
    """Whole numbers stay whole; where some are missing they become floats with NaN."""
    types = required("pyarrow", "data", f"read {path}").types
    kind = column.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(column, name, path)
    if types.is_decimal(kind):
        column = column.cast("float64")
    elif not (
        types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)
    ):
        example = next((value.as_py() for value in column if value.is_valid), None)
        raise GradscopeError(
            f"The column `{name}` of {path} holds {kind} values, for example {short_repr(example)}.",
            why="JAX computes with numbers only.",
            fix="Encode it as numbers, or choose other columns with --x and --y.",
            slug="not-numeric",
        )
    if column.null_count:
        column = column.cast("int8") if types.is_boolean(kind) else column
        column = column.cast("float64")
    array: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return array


def _lists(column: Any, name: str, path: Path) -> np.ndarray[Any, Any]:
    lengths = {len(value) if value.is_valid else 0 for value in column}
    if len(lengths) > 1:
        raise GradscopeError(
            f"The column `{name}` of {path} holds lists of different length.",
            why=f"They have from {min(lengths)} to {max(lengths)} elements; an array has rows of one length.",
            fix="Pad them to one length, or choose other columns with --x and --y.",
            slug="not-numeric",
        )
    inner = _column(column.flatten(), name, path)
    return inner.reshape(len(column), *lengths, *inner.shape[1:])

"""Which of `batch`, `batches` and `data` is given, as a source of batches."""

from __future__ import annotations

from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.batches import BatchSource, One, RowSource, Stream, rows_of
from gradscope.load.leaves import numeric, require_rows


def source_of(batch: Any, batches: Any, data: Any, seed: int, batch_size: int | None) -> BatchSource:
    given = {"batch": batch, "batches": batches, "data": data}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise GradscopeError(
            f"{' and '.join(names)} are given.",
            why="They are ways to say the same thing.",
            fix="Give one of them.",
            slug="no-batches",
        )
    if isinstance(batches, RowSource):
        return batches
    if batches is not None:
        return Stream(batches)
    if data is not None:
        return rows_of(data, seed, batch_size)
    return One(checked_batch(batch, "The batch"))


def checked_batch(batch: Any, what: str) -> Any:
    if batch is None:
        return None
    batch = numeric(batch, "batch" if what == "The batch" else what)
    require_rows(batch, what)
    return batch

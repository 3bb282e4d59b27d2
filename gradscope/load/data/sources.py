"""Turns whichever of `batch`, `batches` and `data` is given into a source of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.data.batches import BatchSource, RowSource, SingleBatch, Stream, rows_of, unused_size
from gradscope.load.data.loaders import (
    Examples,
    gives_batches,
    gives_examples,
    is_table_of_examples,
    iterator_of,
)
from gradscope.load.data.pytrees import as_pytree
from gradscope.load.leaves import numeric, require_rows


@dataclass(frozen=True)
class KeyedBatches:
    """Batches from a function of the seed: another seed draws other ones, as it does for rows."""

    make: Callable[[int], Any]
    seed: int
    notes: tuple[str, ...] = ()

    def start(self) -> Iterator[Any]:
        return _stream(partial(self.make, self.seed)).start()

    def with_options(self, seed: int, batch_size: int | None) -> KeyedBatches:
        notes = self.notes if batch_size is None else (unused_size(batch_size),)
        changed = replace(self, seed=seed, notes=notes)
        # The same one keeps the batch that was drawn already.
        return self if changed == self else changed


def source_of(batch: Any, batches: Any, data: Any, seed: int, batch_size: int | None) -> BatchSource:
    given = {"batch": batch, "batches": batches, "data": data}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise GradscopeError(
            f"{' and '.join(names)} are given.",
            why="They are alternatives.",
            fix="Give one of them.",
            slug="no-batches",
        )
    if isinstance(batches, RowSource):
        return batches
    if batches is not None:
        return Examples(batches, seed, batch_size) if is_table_of_examples(batches) else _stream(batches)
    if data is not None and gives_examples(data):
        return Examples(data, seed, batch_size)
    if data is not None:
        return _stream(data) if gives_batches(data) else rows_of(data, seed, batch_size)
    return SingleBatch(checked_batch(batch, "The batch"))


def _stream(batches: Any) -> Stream:
    return Stream(batches, iterator_of)


def checked_batch(batch: Any, what: str) -> Any:
    if batch is None:
        return None
    name = "batch" if what == "The batch" else what
    batch = numeric(as_pytree(batch, name), name)
    require_rows(batch, what)
    return batch

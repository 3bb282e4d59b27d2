"""Batches from data files: rows read at random where the format allows it, else shuffled in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data.batches import DEFAULT_BATCH_SIZE, require_size, rows_notes, shuffled
from gradscope.load.data.files.blocks import blocks_of, bytes_in, joined, rows_in, side_by_side
from gradscope.load.data.files.readers import Block, DataFile, Picked, Streamed, require_rows
from gradscope.load.data.files.selection import ColumnSelection

POOL = 64 << 20
"""[bytes] of a streamed file that are held and shuffled at a time."""


@dataclass(eq=False)
class FileRows:
    """`--data`: the rows of one file, of shards one after another, or of files side by side.

    `shards` holds rows of files: the files of one row have different names and the same number of rows.
    Rows that do not fill a last batch are left out: another shape would mean another compilation.
    """

    shards: tuple[tuple[DataFile, ...], ...]
    choice: ColumnSelection
    where: str
    seed: int = 0
    batch_size: int | None = None
    _said: dict[str, str] = field(default_factory=dict)
    _dtypes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_size(self.batch_size)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the files made necessary; complete once a first batch was drawn."""
        files = (file for shard in self.shards for file in shard if isinstance(file, Streamed))
        return (*(note for file in files for note in file.notes), *self._said.values())

    def with_options(self, seed: int, batch_size: int | None) -> FileRows:
        batch_size = batch_size or self.batch_size
        if (seed, batch_size) == (self.seed, self.batch_size):
            return self
        return replace(self, seed=seed, batch_size=batch_size, _said={}, _dtypes={})

    def __iter__(self) -> Iterator[Any]:
        return self.start()

    def start(self) -> Iterator[Any]:
        if all(isinstance(file, Picked) for shard in self.shards for file in shard):
            yield from self._picked([[f for f in shard if isinstance(f, Picked)] for shard in self.shards])
        else:
            yield from self._streamed()

    def _picked(self, shards: Sequence[Sequence[Picked]]) -> Iterator[Any]:
        homes = [{name: file for file in shard for name in self._wanted(file)} for shard in shards]
        counts = [require_rows({n: f.shapes[n] for n, f in home.items()}, self.where) for home in homes]
        ends = np.cumsum(counts)
        count = int(ends[-1])
        size = self._size(count)
        self._say("rows", *rows_notes(self.where, count, size, self.batch_size))
        for rows in shuffled(count, self.seed, size):
            shard = np.searchsorted(ends, rows, side="right")
            parts = [
                {
                    name: file.pick(name, rows[shard == i] - (ends[i] - counts[i]))
                    for name, file in home.items()
                }
                for i, home in enumerate(homes)
                if (shard == i).any()
            ]
            yield self._batch(joined(parts))

    def _streamed(self) -> Iterator[Any]:
        size = self.batch_size or DEFAULT_BATCH_SIZE
        rest: Block = {}
        drawn = 0
        generator = np.random.default_rng(self.seed)
        for pool, last in self._pools(size):
            pool = joined([rest, pool]) if rest else pool
            count = rows_in(pool)
            size = self._size(count) if not drawn and last else size
            if not drawn:
                self._look_at(pool, count, size, whole=last)
            order = generator.permutation(count)
            for first in range(0, count - size + 1, size):
                drawn += 1
                yield self._batch({n: array[order[first : first + size]] for n, array in pool.items()})
            rest = {n: array[order[count - count % size :]] for n, array in pool.items()}
        if not drawn:
            raise _no_rows(self.where)

    def _pools(self, size: int) -> Iterator[tuple[Block, bool]]:
        """Blocks put together until they are worth shuffling, and whether nothing follows."""
        held: list[Block] = []
        for block in self._blocks():
            if bytes_in(held) >= POOL and sum(map(rows_in, held)) >= size:
                yield self._settled(joined(held)), False
                held = []
            if rows_in(block):
                held.append(block)
        if held:
            yield self._settled(joined(held)), True

    def _blocks(self) -> Iterator[Block]:
        order = np.random.default_rng(self.seed).permutation(len(self.shards))
        for shard in (self.shards[i] for i in order):
            files = [(file, self._wanted(file)) for file in shard if self._wanted(file)]
            alone = self.seed if len(files) == 1 else None
            yield from side_by_side([blocks_of(f, names, alone) for f, names in files], self.where)

    def _wanted(self, file: DataFile) -> tuple[str, ...]:
        return tuple(name for name in self.choice.names if name in file.names)

    def _settled(self, pool: Block) -> Block:
        """All pools have the dtypes of the first, so that the program is compiled once."""
        floating = jax.dtypes.canonicalize_dtype(np.float64)
        text = {
            name for file in self.shards[0] if isinstance(file, Streamed) and file.text for name in file.names
        }
        settled = {
            n: array.astype(floating) if n in text and array.dtype == np.float64 else array
            for n, array in pool.items()
        }
        for name, array in settled.items():
            first = self._dtypes.setdefault(name, array.dtype)
            if first != array.dtype:
                raise _changed(name, self.where, first, array.dtype)
        return settled

    def _look_at(self, pool: Block, count: int, size: int, whole: bool) -> None:
        for name, array in pool.items():
            missing = int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0
            if missing:
                of = f"{array.size:,} values" + ("" if whole else " at the beginning")
                self._say(name, f"`{name}` of {self.where}: {missing:,} of {of} are missing; they are NaN.")
        if whole:
            self._say("rows", *rows_notes(self.where, count, size, self.batch_size))
        else:
            self._say("rows", f"{self.where} is read in order and shuffled in blocks of {count:,} rows.")

    def _size(self, count: int) -> int:
        if not count:
            raise _no_rows(self.where)
        return min(self.batch_size or DEFAULT_BATCH_SIZE, count)

    def _say(self, about: str, *notes: str) -> None:
        for note in notes:
            self._said[about] = note

    def _batch(self, arrays: Mapping[str, Any]) -> Any:
        return self.choice.batch(arrays)


def _no_rows(where: str) -> GradscopeError:
    return GradscopeError(
        f"{where} has no rows.",
        why="A loss over no rows has no gradient (its mean is NaN).",
        fix="Check the file: it holds names and no values.",
        slug="empty-batch",
    )


def _changed(name: str, where: str, first: Any, later: Any) -> GradscopeError:
    return GradscopeError(
        f"`{name}` of {where} is {first} at first and {later} later.",
        why="Values are missing further down, and whole numbers have no NaN.",
        fix="Write it as floating numbers, fill the gaps, or measure fewer batches.",
        slug="not-numeric",
    )

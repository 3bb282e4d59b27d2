"""Where batches come from: one batch, an iterable of them, or a whole data set that is cut into rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data.pytrees import as_pytree
from gradscope.load.leaves import numeric, require_rows
from gradscope.load.message_text import type_name
from gradscope.load.usercode.user_code import user_code

DEFAULT_BATCH_SIZE = 128
PERMUTED = 1 << 24
"""Rows up to which their order is drawn whole."""


class BatchSource(Protocol):
    def start(self) -> Iterator[Any]:
        """A fresh pass."""
        ...


@runtime_checkable
class RowSource(BatchSource, Protocol):
    """A whole data set, from which batches are cut here: their size and order can be asked for."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def with_options(self, seed: int, batch_size: int | None) -> RowSource: ...


@dataclass(frozen=True)
class SingleBatch:
    """A single batch; `None` where the loss closes over its data."""

    batch: Any

    def start(self) -> Iterator[Any]:
        yield self.batch


def iterated(value: Any) -> Iterator[Any]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return iter(value)
    raise GradscopeError(
        f"batches is of type {type_name(value)}, which is not a sequence of batches.",
        why="gradscope draws batches from it, one at a time.",
        fix="Give a list, an iterator, or a function that yields batches; name one batch `batch` and a whole "
        'data set `data`, and choose one where there are several, as `["train"]`.',
        slug="no-batches",
    )


@dataclass
class Stream:
    """Batches from a function or an iterable, drawn one at a time and checked as they are drawn.

    An iterator can be walked once only: what was drawn from it is kept, for later passes, as long as `keeps`.
    """

    batches: Any
    iterate: Callable[[Any], Iterator[Any]] = iterated
    """How a pass is started on the iterable."""
    keeps: bool = True
    _kept: list[Any] = field(default_factory=list)
    _walked: Iterator[Any] | None = None

    def start(self) -> Iterator[Any]:
        with user_code("starting batches"):
            iterator = self._open()
        return self._replay() if iterator is None else _drawn(iterator)

    @property
    def walked_once(self) -> bool:
        """It is an iterator; known once a pass was started."""
        return self._walked is not None

    def _open(self) -> Iterator[Any] | None:
        if self._walked is not None:
            return None
        value = self.batches() if callable(self.batches) else self.batches
        iterator = self.iterate(value)
        if iterator is not self.batches:
            return iterator
        self._walked = _drawn(iterator)
        return None

    def _replay(self) -> Iterator[Any]:
        position = 0
        while True:
            if position < len(self._kept):
                yield self._kept[position]
                position += 1
                continue
            following = next(self._walked or iter(()), END)
            if following is END:
                return
            if self.keeps:
                self._kept.append(following)
                position += 1
            yield following


@dataclass(frozen=True)
class Rows:
    """A data set whose arrays share their leading axis, shuffled by `seed` and cut into equal batches.

    Rows that do not fill a last batch are left out: another shape would mean another compilation.
    """

    data: Any
    seed: int = 0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        require_size(self.batch_size)

    def start(self) -> Iterator[Any]:
        for rows in shuffled(self.count, self.seed, self.size):
            yield jax.tree_util.tree_map(lambda leaf, rows=rows: leaf[rows], self.data)

    @property
    def count(self) -> int:
        return int(np.shape(jax.tree_util.tree_leaves(self.data)[0])[0])

    @property
    def size(self) -> int:
        return min(self.batch_size or DEFAULT_BATCH_SIZE, self.count)

    @property
    def notes(self) -> tuple[str, ...]:
        return rows_notes("data", self.count, self.size, self.batch_size)

    def with_options(self, seed: int, batch_size: int | None) -> Rows:
        return replace(self, seed=seed, batch_size=batch_size or self.batch_size)


def require_size(batch_size: int | None) -> None:
    if batch_size is not None and batch_size < 1:
        raise GradscopeError(
            f"The batch size is {batch_size}.",
            why="A batch holds at least one row.",
            fix=f"Give 1 or more; without it batches have {DEFAULT_BATCH_SIZE} rows.",
            slug="bad-option",
        )


def unused_size(batch_size: int) -> str:
    return f"The batch size {batch_size} is not used: it cuts `data`, and the file gives batches."


def rows_notes(what: str, count: int, size: int, asked: int | None) -> tuple[str, ...]:
    """How `what` is cut into batches of `size`, where that is not plain."""
    if count > size:
        how = "" if asked else "; --batch-size changes it"
        return (f"{what} has {count:,} rows, cut into batches of {size} after a shuffle{how}.",)
    return (
        (f"{what} has {count:,} rows, fewer than the batch size {asked}.",) if asked and asked > count else ()
    )


def shuffled(count: int, seed: int, size: int) -> Iterator[np.ndarray[Any, Any]]:
    """Row numbers of one batch after another, each row once, less those that do not fill a last batch."""
    generator = np.random.default_rng(seed)
    if count <= PERMUTED:
        order = generator.permutation(count)
        for first in range(0, count - size + 1, size):
            yield order[first : first + size]
        return
    # A permutation of 10 billion rows takes 80 GB; steps prime to the count visit each row once, too.
    step = int(generator.integers(count // 4, count // 2))
    while math.gcd(step, count) != 1:
        step += 1
    start = int(generator.integers(count))
    for first in range(0, count - size + 1, size):
        yield np.array([(start + step * i) % count for i in range(first, first + size)])


@dataclass(frozen=True)
class WholeData(SingleBatch):
    """A data set whose arrays share no leading axis, as where time comes first: one batch, since no axis is
    known that could be cut."""

    rows: Mapping[str, int | None]
    """The length of the leading axis of each array, by name; `None` of a scalar."""

    @property
    def notes(self) -> tuple[str, ...]:
        shown = [
            f"{name} {'is a scalar' if rows is None else f'has {rows:,}'}" for name, rows in self.rows.items()
        ]
        rest = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        return (
            "data is used whole, as one batch: its arrays share no leading axis along which it could be cut "
            f"({', '.join(shown[:3])}{rest}).",
        )

    def with_options(self, seed: int, batch_size: int | None) -> WholeData:
        del seed
        if batch_size is None:
            return self
        found = [f"  {n}: {'no rows, a scalar' if r is None else f'{r} rows'}" for n, r in self.rows.items()]
        raise GradscopeError(
            "The arrays of data do not have the same number of rows.",
            why=f"Batches of {batch_size} rows are cut along the leading axis of all its arrays.",
            fix="Give arrays with a common leading axis, cut them yourself in `batches()`, or give no batch "
            "size: then data is one batch.",
            details="\n".join(found[:8]),
            slug="mismatched-rows",
        )


def rows_of(data: Any, seed: int, batch_size: int | None) -> Rows | WholeData:
    """`data` cut into rows, or whole where its arrays do not have the same number of them."""
    data = numeric(as_pytree(data, "data"), "data")
    require_rows(data, "data")
    lengths = {
        f"data{jax.tree_util.keystr(path)}": (np.shape(leaf)[0] if np.ndim(leaf) else None)
        for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]
    }
    if len(set(lengths.values())) > 1 or None in lengths.values():
        return WholeData(data, lengths).with_options(seed, batch_size)
    return Rows(data, seed, batch_size)


class _End:
    """What `next` returns at the end, since any value may be a batch."""


END = _End()


def _drawn(iterator: Iterator[Any]) -> Iterator[Any]:
    for number in itertools.count():
        with user_code("drawing a batch"):
            batch = next(iterator, END)
        if batch is END:
            return
        what = "The first batch" if number == 0 else f"Batch {number}"
        batch = numeric(as_pytree(batch, "batch"), "batch")
        require_rows(batch, what)
        yield batch

"""Blocks of rows: one after another, side by side, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data.files.readers import Block, DataFile, Streamed, require_rows

READ_AT_ONCE = 8192
"""Rows of a file with random access that are read at a time, next to a streamed one."""


def blocks_of(file: DataFile, names: Sequence[str], seed: int | None) -> Iterator[Block]:
    if isinstance(file, Streamed):
        yield from file.blocks(names, seed)
        return
    count = require_rows({name: file.shapes[name] for name in names}, str(file.path))
    for first in range(0, count, READ_AT_ONCE):
        rows = np.arange(first, min(first + READ_AT_ONCE, count))
        yield {name: file.pick(name, rows) for name in names}


def side_by_side(sources: list[Iterator[Block]], where: str) -> Iterator[Block]:
    """Blocks of files of equal length, cut where any of them ends a block."""
    held: list[Block] = [{} for _ in sources]
    while True:
        for i, source in enumerate(sources):
            while not (held[i] and rows_in(held[i])):
                following = next(source, None)
                if following is None:
                    break
                held[i] = following
        counts = [rows_in(block) if block else 0 for block in held]
        if not any(counts):
            return
        if not all(counts):
            raise GradscopeError(
                f"The files {where} do not have the same number of rows.",
                why="One of them ends before the others, and batches are cut row by row over all of them.",
                fix="Give files that belong together.",
                slug="mismatched-rows",
            )
        step = min(counts)
        yield {name: array[:step] for block in held for name, array in block.items()}
        held = [{name: array[step:] for name, array in block.items()} for block in held]


def joined(blocks: Sequence[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def rows_in(block: Block) -> int:
    return len(next(iter(block.values())))


def bytes_in(blocks: Sequence[Block]) -> int:
    return sum(array.nbytes for block in blocks for array in block.values())

"""`--x` and `--y`: which arrays or columns of the files make the batch, and in which form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data.files.record import Record
from gradscope.load.message_text import did_you_mean, listed


@dataclass(frozen=True)
class ColumnSelection:
    """How a batch is built from named arrays."""

    names: tuple[str, ...]
    """All that are read, in the order of the file."""
    x: tuple[str, ...] = ()
    y: tuple[str, ...] = ()
    alone: bool = False
    """The one array of a `.npy` file is the batch itself."""

    def batch(self, arrays: Mapping[str, Any]) -> Any:
        """The arrays by name; with `--x` and `--y` a pair; with `--x` alone the inputs themselves."""
        if self.alone:
            return arrays[self.names[0]]
        if not self.x:
            return Record(self.names, [arrays[name] for name in self.names])
        x = _together(self.x, arrays)
        return Record(("x", "y"), (x, _together(self.y, arrays))) if self.y else x


def select(
    found: Sequence[str], x: Sequence[str], y: Sequence[str], where: str, alone: bool
) -> ColumnSelection:
    """`found` are the names in the files; with `--y` alone all others are the inputs."""
    unknown = [name for name in (*x, *y) if name not in found]
    if unknown:
        raise GradscopeError(
            f"{where} has no `{unknown[0]}`.",
            why=f"It has {listed([f'`{name}`' for name in found])}.",
            fix=did_you_mean(unknown[0], found) or "Name one of these with --x and --y.",
            slug="no-such-column",
        )
    inputs = tuple(x) or (tuple(name for name in found if name not in y) if y else ())
    if y and not inputs:
        raise GradscopeError(
            f"{where} has only {listed([f'`{name}`' for name in y])}.",
            why="--y takes all of it, which leaves no input.",
            fix="Give another file with --data, or leave --y out.",
            slug="no-such-column",
        )
    used = {*inputs, *y} or set(found)
    return ColumnSelection(
        tuple(name for name in found if name in used), inputs, tuple(y), alone and not inputs
    )


def _together(names: Sequence[str], arrays: Mapping[str, Any]) -> Any:
    """One array as it is; columns of numbers as a matrix [rows, columns]; other arrays by name."""
    if len(names) == 1:
        return arrays[names[0]]
    parts = [arrays[name] for name in names]
    if all(part.ndim == 1 for part in parts):
        return np.stack(parts, axis=1)
    return Record(names, parts)

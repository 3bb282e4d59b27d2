"""A table for people, before it is laid out: columns of cells, and which of them may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column and its cells, from the first row to the last."""

    title: tuple[str, str]
    """Two lines, the upper one first."""
    priority: int
    """The highest is left out first."""
    cells: Sequence[str]
    styles: Sequence[str] = ()
    """Of each cell; empty: plain."""
    right: bool = True

    @property
    def heading(self) -> str:
        """The title on one line."""
        return " ".join(self.title).strip()


def filled(columns: Sequence[Column]) -> list[Column]:
    """A column in which nothing stands says nothing about any row."""
    return [column for column in columns if any(column.cells)]

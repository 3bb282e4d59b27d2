"""A table for people, before it is laid out: columns of cells, and which of them may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradscope.language import heading as spoken


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
        return " ".join(map(spoken, self.title)).strip()


@dataclass(frozen=True, slots=True)
class SmallTable:
    title: str
    head: str
    """Of the column of names."""
    names: Sequence[str]
    columns: Sequence[Column]
    urgency: Sequence[float]
    """By row: the smallest is shown where not all are."""
    meaning: str
    detail: SmallTable | None = None
    heading: str = ""
    """Above it at a terminal, where the head of the column does not say what it is."""
    said: str = ""
    """A sentence below it."""

    def rows(self, shown: Sequence[int]) -> list[Column]:
        """The columns of some of the rows."""
        return [replace(each, cells=[each.cells[row] for row in shown]) for each in self.columns]


def told(columns: Sequence[Column]) -> list[Column]:
    """The same in the language that is spoken."""
    return [
        replace(
            each,
            title=(spoken(each.title[0]), spoken(each.title[1])),
            cells=[spoken(cell) for cell in each.cells],
        )
        for each in columns
    ]


def filled(columns: Sequence[Column]) -> list[Column]:
    """A column in which nothing stands says nothing about any row."""
    return [column for column in columns if any(column.cells)]

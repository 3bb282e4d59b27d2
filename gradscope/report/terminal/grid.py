"""A plain table: names are folded, and where it is narrow the columns that tell least are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradscope.language import heading, phrase, translate
from gradscope.report.shared.base import Line
from gradscope.report.shared.table import Column, filled, told
from gradscope.report.terminal.lines import fold, pad, width_of, wrap

NAME_AT_LEAST = 12
GAP = "  "
MARK = 2


@dataclass(frozen=True, slots=True)
class GridRow:
    """The left end of a row."""

    name: str
    mark: str = ""
    style: str = ""
    prose: bool = False
    """Broken between words."""


def grid(title: str, rows: Sequence[GridRow], columns: Sequence[Column], width: int) -> list[Line]:
    """Lines of at most `width` cells; a column in which nothing stands is left out."""
    title = heading(title)
    rows = [replace(row, name=(translate if row.prose else phrase)(row.name)) for row in rows]
    kept = fitting(title, rows, columns, width)
    name = max(min(_longest(title, rows), _room(kept, width)), 6)
    return [*_header(title, kept, name), *_body(rows, kept, name)]


def fitting(title: str, rows: Sequence[GridRow], columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that `grid` shows."""
    kept = filled(told(columns))
    while kept and _room(kept, width) < min(_longest(title, rows), NAME_AT_LEAST):
        kept.remove(max(kept, key=lambda column: column.priority))
    return kept


def _longest(title: str, rows: Sequence[GridRow]) -> int:
    return max([width_of(title), *(width_of(row.name) for row in rows)])


def _room(columns: Sequence[Column], width: int) -> int:
    """For the names."""
    return width - MARK - sum(_width(column) + len(GAP) for column in columns)


def _width(column: Column) -> int:
    return max(width_of(text) for text in (*column.title, *column.cells))


def _header(title: str, columns: Sequence[Column], name: int) -> list[Line]:
    lines: list[Line] = []
    for index in (0, 1):
        text = " " * MARK + pad(title if index else "", name)
        for column in columns:
            text += GAP + pad(column.title[index], _width(column), right=column.right)
        lines.append([(text.rstrip(), "quiet")])
    return lines


def _body(rows: Sequence[GridRow], columns: Sequence[Column], name: int) -> list[Line]:
    lines: list[Line] = []
    for place, row in enumerate(rows):
        pieces = wrap(row.name, name) if row.prose else fold(row.name, name)
        line: Line = [(pad(row.mark, MARK), row.style), (pad(pieces[0], name), row.style)]
        for column in columns:
            style = column.styles[place] if column.styles else ""
            line.append((GAP + pad(column.cells[place], _width(column), right=column.right), style))
        lines.append(line)
        lines += [[(" " * MARK + piece, row.style)] for piece in pieces[1:]]
    return lines

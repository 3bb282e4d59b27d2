"""Attention and experts: a row for each."""

from __future__ import annotations

from gradscope.records import Measurement
from gradscope.report.shared import units
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.small_tables import SmallTable, small_tables
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.sections import INDENT

MOST_ROWS = 8
"""Without `--all`."""


def tables(flow: Measurement, view: View) -> list[Line]:
    return [line for each in small_tables(flow) for line in [[], *_lines(each, view)]]


def _lines(table: SmallTable, view: View) -> list[Line]:
    every = range(len(table.names))
    few = sorted(sorted(every, key=lambda row: table.urgency[row])[:MOST_ROWS])
    shown = list(every) if view.show_all else few
    rows = [GridRow(view.glyphs.text(table.names[row])) for row in shown]
    lines = grid(table.head, rows, table.rows(shown), view.width)
    if len(shown) < len(every):
        more = units.count(len(every) - len(shown))
        lines.append([(f"{' ' * INDENT}{view.glyphs.ellipsis} {more} more: --all shows them", "quiet")])
    return lines

"""A small table at a terminal: what is above it, a row for each name, and a sentence below."""

from __future__ import annotations

from gradscope.records import Measurement
from gradscope.report.shared import units
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.small_tables import small_tables
from gradscope.report.shared.table import SmallTable
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.lines import paragraph

MOST_ROWS = 8
"""Without `--all`."""
INDENT, LONGEST = 2, 110
"""Of a sentence."""


def tables(flow: Measurement, view: View) -> list[Line]:
    return [line for each in small_tables(flow) for line in small_table(each, view)]


def small_table(table: SmallTable, view: View) -> list[Line]:
    every = range(len(table.names))
    few = sorted(sorted(every, key=lambda row: table.urgency[row])[:MOST_ROWS])
    shown = list(every) if view.show_all else few
    rows = [GridRow(view.glyphs.text(table.names[row])) for row in shown]
    lines: list[Line] = [[]]
    if table.heading:
        lines += paragraph(table.heading, view, 0, "strong")
    lines += grid(table.head, rows, table.rows(shown), view.width)
    if len(shown) < len(every):
        more = units.count(len(every) - len(shown))
        lines += paragraph(f"{view.glyphs.ellipsis} {more} more: --all shows them", view, INDENT, "quiet")
    if table.said:
        lines += paragraph(table.said, view.at_most(LONGEST))
    return lines

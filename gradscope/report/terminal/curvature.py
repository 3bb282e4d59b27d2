"""The curvature of the loss at a terminal."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Curvature
from gradscope.report.shared import units
from gradscope.report.shared.bars import bar, scale_of, sparkline
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.curvature import summary
from gradscope.report.shared.curvature_tables import layer_table, line_table
from gradscope.report.shared.table import Column, SmallTable
from gradscope.report.terminal.lines import paragraph, sentences
from gradscope.report.terminal.small_tables import small_table

INDENT, CELL = 2, 2
"""Characters of each part of the density."""
BAR = 12


def curvature(found: Curvature | None, view: View) -> list[Line]:
    if found is None:
        return []
    lines: list[Line] = [[], *sentences(summary(found), view)]
    if view.quiet:
        return lines
    lines += _density(found, view)
    if (layers := layer_table(found)) is not None:
        lines += small_table(_with_bars(layers, found, view), view)
    if (points := line_table(found)) is not None:
        lines += small_table(points, view)
    return lines


def _density(found: Curvature, view: View) -> list[Line]:
    """A height for each part of the axis, on a log scale; a blank where nothing was seen."""
    bins = found.density
    if len(bins) < 2:
        return []
    low, high = f"{units.number(bins[0].low)} ", f" {units.number(bins[-1].high)}"
    room = max(1, view.width - INDENT - len(low) - len(high))
    shares, cell = [each.share for each in bins], CELL if CELL * len(bins) <= room else 1
    heights = sparkline(shares, room, view.glyphs, scale_of(shares))
    drawn = "".join(height * cell for height in heights)
    whole = len(heights) == len(bins)
    zero = next((at for at, each in enumerate(bins) if whole and each.low < 0 < each.high), None)
    lines: list[Line] = [[]]
    lines += paragraph("density of eigenvalues (heights in powers of ten)", view, 0, "strong")
    lines.append([(f"{' ' * INDENT}{low}", "quiet"), (drawn, "bar"), (high, "quiet")])
    if zero is not None:
        lines.append([(" " * (INDENT + len(low) + zero * cell), ""), ("0", "quiet")])
    return lines


def _with_bars(table: SmallTable, found: Curvature, view: View) -> SmallTable:
    values = [row.largest.value for row in found.layers if row.largest is not None]
    scale = scale_of(values)
    cells = [bar(value, scale, BAR, view.glyphs) for value in values]
    column = Column(("log", "scale"), 4, cells, ["bar"] * len(cells), right=False)
    first, *rest = table.columns
    return replace(table, columns=[first, column, *rest])

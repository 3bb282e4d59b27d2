"""The cost of a training step at a terminal."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Cost, CostGrowth
from gradscope.report.shared.bars import LinearScale, bar
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.communication import between_devices, communication_tables
from gradscope.report.shared.cost import summary
from gradscope.report.shared.cost_growth import growth_sentences
from gradscope.report.shared.cost_tables import growth_table, tables
from gradscope.report.shared.table import Column, SmallTable
from gradscope.report.terminal.lines import sentences
from gradscope.report.terminal.small_tables import small_table

BAR = 16


def cost(found: Cost | None, view: View) -> list[Line]:
    if found is None:
        return []
    lines: list[Line] = [[], *sentences([*summary(found), *between_devices(found)], view)]
    if not view.quiet:
        for table in [*tables(found), *communication_tables(found)]:
            lines += small_table(table, view)
    said = growth_sentences(found)
    lines += [[], *sentences(said, view)] if said else []
    if not view.quiet:
        for growth in found.growth:
            lines += small_table(_drawn(growth, view), view)
    return lines


def _drawn(growth: CostGrowth, view: View) -> SmallTable:
    """With a bar for each size, as long as what it costs."""
    table, points = growth_table(growth), growth.points
    operations: list[float | None] = [point.operations for point in points]
    seconds = [point.seconds for point in points]
    columns: list[Column] = []
    drawn: tuple[list[float | None], ...] = operations, seconds, []
    for column, values in zip(table.columns, drawn, strict=True):
        columns.append(column)
        known = [value for value in values if value is not None]
        if known:
            scale = LinearScale(0.0, max(known))
            bars = [bar(value, scale, BAR, view.glyphs) for value in values]
            columns.append(Column(("", ""), 3, bars, ["bar"] * len(bars), right=False))
    return replace(table, columns=columns)

"""What led up to the origin of a NaN: the operations before it, each with its range and its line."""

from __future__ import annotations

from gradscope.records import Operation, Origin, Report
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.terminal.lines import Line, crop, fold, pad, paragraph, width_of

INDENT = 2
GAP = 2
LEAST_TEXT = 16
"""Cells of a source line below which it is left out."""


def lead_up(report: Report, width: int, glyphs: Glyphs) -> list[Line]:
    origin = report.measurement.origin
    if origin is None or not origin.lead_up:
        return []
    title = f"what led up to `{glyphs.text(origin.derivative_of or origin.op)}`"
    steps = origin.lead_up
    rows = [(glyphs.text(step.op), values(step), _place(step, glyphs), _text(step)) for step in steps]
    columns = [max(width_of(row[i]) for row in rows) for i in range(3)]
    lines: list[Line] = [[], *paragraph(title, width, 0, "strong")]
    for row in rows:
        lines += _row(row, columns, width, glyphs)
    return [*lines, *_born(origin, width)]


def _row(row: tuple[str, str, str, str], columns: list[int], width: int, glyphs: Glyphs) -> list[Line]:
    op, found, place, text = row
    head = " " * INDENT + pad(op, columns[0] + GAP) + pad(found, columns[1] + GAP)
    if width_of(head) + width_of(place) > width:
        return [
            [(piece, "")]
            for part in (f"{op}  {found}", place)
            for piece in (" " * INDENT + each for each in fold(part, width - INDENT))
        ]
    line: Line = [(head, ""), (place, "quiet")]
    room = width - width_of(head) - columns[2] - GAP
    if text and room >= LEAST_TEXT:
        line.append((" " * (columns[2] - width_of(place) + GAP), ""))
        line.append((crop(glyphs.text(text), room, glyphs.ellipsis), ""))
    return [line]


def values(step: Operation) -> str:
    """What it gave: `0.2 to 3.1, 4 elements not finite`."""
    bad = f"{units.counted(step.nonfinite, 'element')} not finite" if step.nonfinite else ""
    if step.low != step.low:
        return bad
    low, high = units.number(step.low + 0.0), units.number(step.high + 0.0)
    span = low if low == high else f"{low} to {high}"
    return f"{span}, {bad}" if bad else span


def _place(step: Operation, glyphs: Glyphs) -> str:
    return glyphs.text(str(step.source)) if step.source is not None else ""


def _text(step: Operation) -> str:
    return step.source.text if step.source is not None else ""


def _born(origin: Origin, width: int) -> list[Line]:
    size = f"{units.count(origin.elements)} of {units.counted(origin.size, 'element')}"
    return paragraph(f"then {size} not finite", width, INDENT, "bad")

"""What led up to the origin of a NaN: the operations before it, each with its range and its line."""

from __future__ import annotations

from gradscope.language import translate
from gradscope.records import Operation, Origin
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.shared.origin import not_finite, values
from gradscope.report.terminal.lines import crop, fold, pad, paragraph, width_of

INDENT = 2
GAP = 2
LEAST_TEXT = 16
"""Cells of a source line below which it is left out."""


def lead_up(origin: Origin | None, view: View) -> list[Line]:
    if origin is None or not origin.lead_up:
        return []
    glyphs = view.glyphs
    title = f"what led up to `{origin.derivative_of or origin.op}`"
    steps = origin.lead_up
    rows = [(glyphs.text(step.op), values(step), _place(step, glyphs), _text(step)) for step in steps]
    columns = [max(width_of(row[i]) for row in rows) for i in range(3)]
    lines: list[Line] = [[], *paragraph(title, view, 0, "strong")]
    for row in rows:
        lines += _row(row, columns, view)
    return [*lines, *paragraph(f"then {translate(not_finite(origin))}", view, INDENT, "bad")]


def _row(row: tuple[str, str, str, str], columns: list[int], view: View) -> list[Line]:
    width, glyphs = view.width, view.glyphs
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


def _place(step: Operation, glyphs: Glyphs) -> str:
    return glyphs.text(str(step.source)) if step.source is not None else ""


def _text(step: Operation) -> str:
    return step.source.text if step.source is not None else ""

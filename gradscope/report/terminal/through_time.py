"""Credit through time: a row of heights for each layer and each gradient, and what it comes to in words."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.language import heading, translate
from gradscope.records import TimeCredit, Truncation
from gradscope.report.shared import units
from gradscope.report.shared.bars import BROKEN, scale_of, sparkline
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.table import Column
from gradscope.report.shared.through_time import (
    StepRows,
    losing,
    relative,
    row_groups,
    sentences,
    title,
    truncation_sentence,
)
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.lines import LONGEST_LINE, fold, pad, paragraph, width_of
from gradscope.report.terminal.sections import INDENT

MOST_ROWS = 12
"""Of one kind without `--all`."""
NAME = 0.3
"""Of the width, which a longer name is folded to."""
LEAST_NAME = 6
WIDEST, NARROWEST = 60, 4
"""Of the heights."""
READABLE = 16
"""Of them, for which the shares are left out."""


def through_time(found: Sequence[TimeCredit], truncation: Truncation | None, view: View) -> list[Line]:
    lines: list[Line] = []
    for credit in found:
        lines += [[], *paragraph(title(credit), view, 0, "strong")]
        for group in row_groups(credit):
            lines += _rows(group, view)
        for sentence in sentences(credit):
            lines += paragraph(sentence, view.at_most(LONGEST_LINE), INDENT)
    return lines + (_truncation(truncation, view) if truncation is not None else [])


def _rows(group: StepRows, view: View) -> list[Line]:
    glyphs = view.glyphs
    rows = group.rows if view.show_all else group.rows[:MOST_ROWS]
    names = [glyphs.text(row.name) for row in rows]
    firsts = [units.cell(row.values[0]) for row in rows]
    lasts = [units.cell(row.values[-1]) for row in rows]
    ends = heading("first"), heading("last")
    first, last = (
        max(5, width_of(end), *(width_of(text) for text in texts))
        for end, texts in zip(ends, (firsts, lasts), strict=True)
    )
    largest = max(width_of(row.largest) for row in rows)
    rest = INDENT + first + last + 3
    most = max(LEAST_NAME, min(int(view.width * NAME), view.width - rest - NARROWEST))
    name = min(most, max(width_of(each) for each in names))
    fixed = rest + name
    if fixed + largest + 2 + min(READABLE, group.length) > view.width:
        largest = 0
    room = min(WIDEST, max(NARROWEST, view.width - fixed - (largest + 2 if largest else 0)))
    cells = min(room, group.length)
    head = " " * (INDENT + name + 1) + pad(ends[0], first, right=True) + " " * (cells + 2) + ends[1]
    if largest:
        head = f"{pad(head, fixed + cells)}  {translate('largest share')}"
    lines: list[Line] = [
        *paragraph(group.title, view, INDENT, "quiet"),
        [(head, "quiet")],
    ]
    scale = scale_of(value for row in rows for value in row.values)
    for row, text, left, right in zip(rows, names, firsts, lasts, strict=True):
        pieces = fold(text, name)
        curve = sparkline(group.padded(row), room, glyphs, scale)
        line: Line = [
            (" " * INDENT + pad(pieces[0], name) + " " + pad(left, first, right=True) + " ", ""),
            (pad(curve, cells), "bad" if BROKEN in curve else "bar"),
            (" " + pad(right, last), ""),
        ]
        if largest and row.largest:
            line.append((f"  {row.largest}", "quiet"))
        lines.append(line)
        lines += [[(" " * INDENT + piece, "")] for piece in pieces[1:]]
    if len(rows) < len(group.rows):
        more = units.count(len(group.rows) - len(rows))
        lines += paragraph(f"{glyphs.ellipsis} {more} more: --all shows them", view, INDENT, "quiet")
    return lines


def _truncation(found: Truncation, view: View) -> list[Line]:
    lines: list[Line] = [[], *paragraph(truncation_sentence(found), view.at_most(LONGEST_LINE))]
    worst = losing(found)
    shown = worst if view.show_all else worst[:MOST_ROWS]
    if not shown:
        return lines
    columns = [
        Column(("", "lost"), 1, [relative(each.lost) for each in shown]),
        Column(("", "cosine"), 2, [units.number(each.cosine) for each in shown]),
    ]
    rows = [GridRow(view.glyphs.text(each.parameter)) for each in shown]
    lines += grid("parameter", rows, columns, view.width)[1:]
    if len(shown) < len(worst):
        rest = units.count(len(worst) - len(shown))
        lines += paragraph(f"{view.glyphs.ellipsis} {rest} more: --all shows them", view, INDENT, "quiet")
    return lines

"""Credit through time, folded away: rows of heights, and what is lost where it is cut."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, TimeCredit, Truncation
from gradscope.report.markdown.marks import code, folded, prose, table
from gradscope.report.shared import units
from gradscope.report.shared.bars import scale_of, sparkline
from gradscope.report.shared.glyphs import UNICODE
from gradscope.report.shared.through_time import (
    losing,
    relative,
    row_groups,
    sentences,
    title,
    truncation_sentence,
)

WIDEST = 40


def through_time(flow: Measurement) -> Iterator[str]:
    lines = [line for credit in flow.time_credit for line in _credit(credit)]
    if flow.truncation is not None:
        lines += _truncation(flow.truncation)
    if lines:
        yield from folded("Credit through time", lines)


def _credit(credit: TimeCredit) -> Iterator[str]:
    yield f"**{prose(title(credit))}**\n"
    for group in row_groups(credit):
        scale = scale_of(value for row in group.rows for value in row.values)
        shares = any(row.largest for row in group.rows)
        rows = [
            [
                code(row.name),
                units.cell(row.values[0]),
                code(sparkline(group.padded(row), WIDEST, UNICODE, scale)),
                units.cell(row.values[-1]),
                *([row.largest] if shares else []),
            ]
            for row in group.rows
        ]
        titles = [prose(group.title), "first step", "", "last step", *(["largest share"] if shares else [])]
        yield from table(titles, rows)
        yield ""
    yield from (f"- {prose(sentence)}" for sentence in sentences(credit))
    yield ""


def _truncation(found: Truncation) -> Iterator[str]:
    yield f"{prose(truncation_sentence(found))}\n"
    rows = [[code(each.parameter), relative(each.lost), units.number(each.cosine)] for each in losing(found)]
    if rows:
        yield from table(["parameter", "lost", "cosine"], rows)

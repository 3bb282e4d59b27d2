"""Attention and experts: a section for each, with a table."""

from __future__ import annotations

from gradscope.records import Measurement
from gradscope.report.html.markup import NOTHING, Frame, Html, code, details, joined, prose, table, tag
from gradscope.report.shared.small_tables import SmallTable, small_tables
from gradscope.report.shared.table import filled


def sections(flow: Measurement, frame: Frame) -> Html:
    return joined([_section(each, frame) for each in small_tables(flow)])


def _section(found: SmallTable, frame: Frame) -> Html:
    detail = NOTHING if found.detail is None else details(found.detail.title, _table(found.detail))
    said = tag("p", prose(found.meaning))
    return frame.section(found.title.lower(), found.title, said, _table(found), detail)


def _table(found: SmallTable) -> Html:
    kept = filled(found.columns)
    rows = [[code(name), *(column.cells[row] for column in kept)] for row, name in enumerate(found.names)]
    titles = [found.head, *(column.heading for column in kept)]
    return table(titles, rows, caption=found.title.lower())

"""Small tables: a section for each, or a table within another section."""

from __future__ import annotations

from gradscope.language import phrase
from gradscope.records import Measurement
from gradscope.report.html.markup import NOTHING, Frame, Html, code, details, joined, prose, table, tag
from gradscope.report.shared.small_tables import small_tables
from gradscope.report.shared.table import SmallTable, filled


def sections(flow: Measurement, frame: Frame) -> Html:
    return joined([_section(each, frame) for each in small_tables(flow)])


def _section(found: SmallTable, frame: Frame) -> Html:
    detail = NOTHING if found.detail is None else details(found.detail.title, small_table(found.detail))
    below = tag("p", prose(found.said)) if found.said else NOTHING
    said = tag("p", prose(found.meaning))
    return frame.section(found.title.lower(), found.title, said, small_table(found), below, detail)


def explained(found: SmallTable, frame: Frame) -> Html:
    """A section of its own, with what the table means."""
    name = found.title.lower().replace(" ", "-")
    return frame.section(name, found.title, tag("p", prose(found.meaning)), small_table(found))


def small_table(found: SmallTable) -> Html:
    kept = filled(found.columns)
    names = map(phrase, found.names)
    rows = [[code(name), *(column.cells[row] for column in kept)] for row, name in enumerate(names)]
    titles = [found.head, *(column.heading for column in kept)]
    words = [place for place, column in enumerate(kept, 1) if not column.right]
    return table(titles, rows, caption=found.title.lower(), words=words)

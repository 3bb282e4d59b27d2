"""Small tables, each folded, and a sentence below."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.language import phrase
from gradscope.records import Measurement
from gradscope.report.markdown.marks import code, folded, prose, table
from gradscope.report.shared.small_tables import small_tables
from gradscope.report.shared.table import SmallTable, filled


def tables(flow: Measurement) -> Iterator[str]:
    for each in small_tables(flow):
        yield from small_table(each)


def small_table(found: SmallTable) -> Iterator[str]:
    kept = filled(found.columns)
    names = map(phrase, found.names)
    lines = [[code(name), *(column.cells[row] for column in kept)] for row, name in enumerate(names)]
    yield from folded(found.title, table([found.head, *(column.heading for column in kept)], lines))
    if found.said:
        yield f"{prose(found.said)}\n"

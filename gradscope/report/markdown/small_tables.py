"""Attention and experts, each a folded table."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement
from gradscope.report.markdown.marks import code, folded, table
from gradscope.report.shared.small_tables import small_tables
from gradscope.report.shared.table import filled


def tables(flow: Measurement) -> Iterator[str]:
    for each in small_tables(flow):
        kept = filled(each.columns)
        lines = [[code(name), *(column.cells[row] for column in kept)] for row, name in enumerate(each.names)]
        yield from folded(each.title, table([each.head, *(column.heading for column in kept)], lines))

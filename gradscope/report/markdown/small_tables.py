"""Small tables, each folded, and a sentence below."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.language import phrase
from gradscope.records import Measurement
from gradscope.report.markdown.marks import code, folded, prose, table
from gradscope.report.shared.small_tables import small_tables
from gradscope.report.shared.table import SmallTable, filled

MOST_ROWS = 20


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


def long_table(found: SmallTable, show_all: bool) -> Iterator[str]:
    """The rows that matter most, in their order, or all."""
    ranked = sorted(range(len(found.names)), key=lambda row: found.urgency[row])
    rows = range(len(found.names)) if show_all else sorted(ranked[:MOST_ROWS])
    kept = filled(found.columns)
    lines = [[code(found.names[row]), *(prose(c.cells[row]) for c in kept)] for row in rows]
    if len(lines) < len(found.names):
        lines.append([f"{len(found.names) - len(lines)} more", *[""] * len(kept)])
    yield from folded(found.title, table([found.head, *(column.heading for column in kept)], lines))

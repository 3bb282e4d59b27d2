"""The curvature of the loss as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Curvature
from gradscope.report.markdown.marks import code, folded, prose, table
from gradscope.report.shared.curvature import summary
from gradscope.report.shared.curvature_tables import density_table, tables
from gradscope.report.shared.table import filled

MOST_ROWS = 20


def curvature(found: Curvature, show_all: bool) -> Iterator[str]:
    for sentence in summary(found):
        yield f"{prose(sentence)}\n"
    for each in [*tables(found), density_table(found)]:
        if each is None:
            continue
        ranked = sorted(range(len(each.names)), key=lambda row: each.urgency[row])
        rows = range(len(each.names)) if show_all else sorted(ranked[:MOST_ROWS])
        kept = filled(each.columns)
        lines = [[code(each.names[row]), *(prose(c.cells[row]) for c in kept)] for row in rows]
        if len(lines) < len(each.names):
            lines.append([f"{len(each.names) - len(lines)} more", *[""] * len(kept)])
        yield from folded(each.title, table([each.head, *(column.heading for column in kept)], lines))

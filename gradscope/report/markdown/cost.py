"""The cost of a training step as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Cost
from gradscope.report.markdown.marks import code, folded, prose, table
from gradscope.report.shared.communication import between_devices, communication_tables
from gradscope.report.shared.cost import summary
from gradscope.report.shared.cost_growth import growth_sentences
from gradscope.report.shared.cost_tables import growth_table, tables
from gradscope.report.shared.table import filled

MOST_ROWS = 20


def cost(found: Cost, show_all: bool) -> Iterator[str]:
    for sentence in [*summary(found), *between_devices(found), *growth_sentences(found)]:
        yield f"{prose(sentence)}\n"
    for each in [*tables(found), *communication_tables(found), *map(growth_table, found.growth)]:
        ranked = sorted(range(len(each.names)), key=lambda row: each.urgency[row])
        rows = range(len(each.names)) if show_all else sorted(ranked[:MOST_ROWS])
        kept = filled(each.columns)
        lines = [[code(each.names[row]), *(prose(c.cells[row]) for c in kept)] for row in rows]
        if len(lines) < len(each.names):
            lines.append([f"{len(each.names) - len(lines)} more", *[""] * len(kept)])
        yield from folded(each.title, table([each.head, *(column.heading for column in kept)], lines))

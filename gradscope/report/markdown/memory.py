"""The memory of a training step as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Memory
from gradscope.report.markdown.marks import code, folded, prose, table
from gradscope.report.shared.memory import summary
from gradscope.report.shared.memory_advice import advice, tables
from gradscope.report.shared.table import filled

MOST_ROWS = 20


def memory(found: Memory, show_all: bool) -> Iterator[str]:
    for sentence in summary(found):
        yield f"{prose(sentence)}\n"
    for each in tables(found):
        count = len(each.names) if show_all else min(len(each.names), MOST_ROWS)
        kept = filled(each.columns)
        lines = [[code(each.names[row]), *(prose(c.cells[row]) for c in kept)] for row in range(count)]
        if count < len(each.names):
            lines.append([f"{len(each.names) - count} more", *[""] * len(kept)])
        yield from folded(each.title, table([each.head, *(column.heading for column in kept)], lines))
    for sentence in advice(found):
        yield f"{prose(sentence)}\n"
    if found.checkpointing is not None and found.checkpointing.line:
        yield f"{code(found.checkpointing.line)}\n"

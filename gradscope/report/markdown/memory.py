"""The memory of a training step as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Memory
from gradscope.report.markdown.marks import code, prose
from gradscope.report.markdown.small_tables import long_table
from gradscope.report.shared.memory import summary
from gradscope.report.shared.memory_advice import advice, tables


def memory(found: Memory, show_all: bool) -> Iterator[str]:
    for sentence in summary(found):
        yield f"{prose(sentence)}\n"
    for each in tables(found):
        yield from long_table(each, show_all)
    for sentence in advice(found):
        yield f"{prose(sentence)}\n"
    if found.checkpointing is not None and found.checkpointing.line:
        yield f"{code(found.checkpointing.line)}\n"

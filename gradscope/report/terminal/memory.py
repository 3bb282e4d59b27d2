"""The memory of a training step at a terminal."""

from __future__ import annotations

from gradscope.records import Memory
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.memory import summary
from gradscope.report.shared.memory_advice import advice, tables
from gradscope.report.terminal.lines import paragraph
from gradscope.report.terminal.small_tables import small_table

PROSE = 110


def memory(found: Memory | None, view: View) -> list[Line]:
    if found is None:
        return []
    narrow = view.at_most(PROSE)
    lines: list[Line] = [[]]
    for sentence in summary(found):
        lines += paragraph(sentence, narrow)
    if not view.quiet:
        for table in tables(found):
            lines += small_table(table, view)
    said = advice(found)
    lines += [[]] if said else []
    for sentence in said:
        lines += paragraph(sentence, narrow)
    line = found.checkpointing.line if found.checkpointing is not None else ""
    return [*lines, *paragraph(line, narrow, 0, "", (f"{view.glyphs.arrow} ", "remedy"))] if line else lines

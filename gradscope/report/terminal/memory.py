"""The memory of a training step at a terminal."""

from __future__ import annotations

from gradscope.records import Memory
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.memory import summary
from gradscope.report.shared.memory_advice import advice, tables
from gradscope.report.terminal.lines import LONGEST_LINE, sentences, wrap
from gradscope.report.terminal.small_tables import small_table


def memory(found: Memory | None, view: View) -> list[Line]:
    if found is None:
        return []
    lines: list[Line] = [[], *sentences(summary(found), view)]
    if not view.quiet:
        for table in tables(found):
            lines += small_table(table, view)
    said = advice(found)
    lines += [[], *sentences(said, view)] if said else []
    line = found.checkpointing.line if found.checkpointing is not None else ""
    arrow = f"{view.glyphs.arrow} "
    pieces = wrap(view.glyphs.text(line), view.at_most(LONGEST_LINE).width - len(arrow))
    leads = [(arrow, "remedy"), *[(" " * len(arrow), "")] * len(pieces)]
    return [*lines, *([lead, (piece, "")] for lead, piece in zip(leads, pieces, strict=False))]

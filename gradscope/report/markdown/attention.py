"""What each attention looks at, as a folded table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import Attention
from gradscope.report.markdown.marks import code, folded, table
from gradscope.report.shared.attention import TITLE, columns, told
from gradscope.report.shared.table import filled


def attention_table(found: Sequence[Attention]) -> Iterator[str]:
    shown = told(found)
    if not shown:
        return
    kept = filled(columns(shown))
    lines = [[code(each.name), *(column.cells[i] for column in kept)] for i, each in enumerate(shown)]
    yield from folded(TITLE, table(["attention", *(column.heading for column in kept)], lines))

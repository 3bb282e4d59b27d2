"""What each attention looks at: a table, and one of all heads."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Attention
from gradscope.report.html.markup import NOTHING, Frame, Html, code, details, prose, table, tag
from gradscope.report.shared import units
from gradscope.report.shared.attention import MEANING, TITLE, columns, told
from gradscope.report.shared.table import filled


def attention_table(found: Sequence[Attention], frame: Frame) -> Html:
    shown = told(found)
    if not shown:
        return NOTHING
    kept = filled(columns(shown))
    rows = [[code(each.name), *(column.cells[i] for column in kept)] for i, each in enumerate(shown)]
    whole = table(["attention", *(column.heading for column in kept)], rows, caption="in forward order")
    return frame.section("attention", TITLE, tag("p", prose(MEANING)), whole, *_heads(shown))


def _heads(shown: Sequence[Attention]) -> list[Html]:
    if all(len(each.heads) < 2 for each in shown):
        return []
    rows = [
        [code(each.name), str(place), units.number(head.entropy), units.number(head.sharp)]
        for each in shown
        for place, head in enumerate(each.heads)
        if head.rows
    ]
    titles = ["attention", "head", "entropy", "rows with one key above 0.95"]
    return [details("Every head", table(titles, rows, caption="heads, counted from 0"))]

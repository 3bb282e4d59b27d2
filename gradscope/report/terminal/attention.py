"""What each attention looks at: a row for each."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Attention
from gradscope.report.shared import units
from gradscope.report.shared.attention import TITLE, columns, told
from gradscope.report.shared.base import Line, View
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.sections import INDENT

MOST_ROWS = 8
"""Without `--all`."""


def attention_table(found: Sequence[Attention], view: View) -> list[Line]:
    every = told(found)
    if not every:
        return []
    shown = every if view.show_all else _ends(every)
    rows = [GridRow(view.glyphs.text(each.name)) for each in shown]
    lines: list[Line] = [[], *grid(TITLE.lower(), rows, columns(shown), view.width)]
    if len(shown) < len(every):
        more = units.count(len(every) - len(shown))
        lines.append([(f"{' ' * INDENT}{view.glyphs.ellipsis} {more} more: --all shows them", "quiet")])
    return lines


def _ends(found: list[Attention]) -> list[Attention]:
    """The sharpest ones, in the order of the program."""
    chosen = sorted(range(len(found)), key=lambda place: found[place].entropy)[:MOST_ROWS]
    return [found[place] for place in sorted(chosen)]

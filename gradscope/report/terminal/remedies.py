"""Remedies at a terminal: what each brought, and the edit of the best one."""

from __future__ import annotations

from gradscope.records import Remedies, TriedRemedy
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.remedies import HORIZON, STYLES, columns, failures, lines_of_edit, rows, summary
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.lines import crop, paragraph

PROSE = 110
WHOLE = "`gradscope fix --diff` prints the lines of the edit whole."


def remedies(found: Remedies | None, view: View) -> list[Line]:
    if found is None:
        return []
    lines: list[Line] = [[]]
    for sentence in summary(found):
        lines += paragraph(sentence, view.at_most(PROSE))
    shown = rows(found, view.show_all)
    if shown and not view.quiet:
        names = [
            GridRow(view.glyphs.text(each.what), _mark(each, view), STYLES[each.effect], prose=True)
            for each in shown
        ]
        lines += [[], *grid("remedy", names, columns(shown), view.width)]
        for sentence in failures(shown):
            lines += paragraph(view.glyphs.text(sentence), view.at_most(PROSE), 0, "quiet")
    best = found.best
    if best is not None:
        lines += [[], *edit(best.diff, view)]
        lines += [[], *paragraph(HORIZON, view.at_most(PROSE), 0, "quiet")]
    if found.applied:
        lines += paragraph(f"{found.applied} was written.", view.at_most(PROSE), 0, "strong")
    return lines


def _mark(tried: TriedRemedy, view: View) -> str:
    return view.glyphs.marks["healthy"] if tried.helps else ""


def edit(text: str, view: View) -> list[Line]:
    """A unified diff; where a line is longer than the screen it says what prints it whole."""
    styles = {"+": "healthy", "-": "error", "@": "quiet"}
    whole = [view.glyphs.text(line) for line in lines_of_edit(text)]
    shown = [crop(line, view.width, view.glyphs.ellipsis) for line in whole]
    lines: list[Line] = [[(line, styles.get(line[:1], ""))] for line in shown]
    return lines if shown == whole else [*lines, *paragraph(WHOLE, view.at_most(PROSE), 0, "quiet")]

"""Remedies at a terminal: what each brought, and the edit of the best one."""

from __future__ import annotations

from gradscope.records import Remedies, TriedRemedy
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.remedies import HORIZON, STYLES, columns, failures, lines_of_edit, rows, summary
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.lines import crop, sentences

WHOLE = "`gradscope fix --diff` prints the lines of the edit whole."


def remedies(found: Remedies | None, view: View) -> list[Line]:
    if found is None:
        return []
    lines: list[Line] = [[], *sentences(summary(found), view)]
    shown = rows(found, view.show_all)
    if shown and not view.quiet:
        names = [
            GridRow(view.glyphs.text(each.what), _mark(each, view), STYLES[each.effect], prose=True)
            for each in shown
        ]
        lines += [[], *grid("remedy", names, columns(shown), view.width)]
        lines += sentences(map(view.glyphs.text, failures(shown)), view, "quiet")
    best = found.best
    if best is not None:
        lines += [[], *edit(best.diff, view)]
        lines += [[], *sentences([HORIZON], view, "quiet")]
    if found.applied:
        lines += sentences([f"{found.applied} was written."], view, "strong")
    return lines


def _mark(tried: TriedRemedy, view: View) -> str:
    return view.glyphs.marks["healthy"] if tried.helps else ""


def edit(text: str, view: View) -> list[Line]:
    """A unified diff; where a line is longer than the screen it says what prints it whole."""
    styles = {"+": "healthy", "-": "error", "@": "quiet"}
    whole = [view.glyphs.text(line) for line in lines_of_edit(text)]
    shown = [crop(line, view.width, view.glyphs.ellipsis) for line in whole]
    lines: list[Line] = [[(line, styles.get(line[:1], ""))] for line in shown]
    return lines if shown == whole else [*lines, *sentences([WHOLE], view, "quiet")]

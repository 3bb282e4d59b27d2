"""The comparison of optimizers and the range test at a terminal."""

from __future__ import annotations

import re
from dataclasses import replace

from gradscope.language import heading, translate
from gradscope.records import Comparison, Contestant, RateSearch
from gradscope.report.shared import units
from gradscope.report.shared.bars import plot
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.layer_updates import update_tables
from gradscope.report.shared.optimizers import columns, facts, pasted, standing, suggestion, without_best
from gradscope.report.shared.starts import start_table
from gradscope.report.shared.widths import width_table
from gradscope.report.terminal import optimizer_details
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.lines import LONGEST_LINE, fold, paragraph, sentences, width_of
from gradscope.report.terminal.optimizer_details import INDENT, TITLE
from gradscope.report.terminal.small_tables import small_table

ESCAPE = " \\"


def comparison(found: Comparison, target: str, view: View) -> list[Line]:
    rows = found.contestants
    lines = _verdict(found, target, view)
    if view.quiet:
        return lines + _advice(found, view)
    lines.append([])
    names, all_columns = [_row(row, found, view) for row in rows], columns(found, view.glyphs)
    lines += grid(TITLE, names, all_columns, view.width)
    lines.append([])
    for row in rows:
        lines += paragraph(f"{row.name}: {row.summary}", view.at_most(LONGEST_LINE), INDENT, "quiet")
    ends = start_table(found, view.glyphs)
    if ends is not None:
        lines += small_table(ends, view)
    widths = width_table(found)
    if widths is not None:
        lines += small_table(widths, replace(view, show_all=True))
    for table in update_tables(found):
        lines += small_table(table, view)
    if view.show_all:
        lines += optimizer_details.further_columns(names, all_columns, view.width)
        lines += [[], *optimizer_details.by_rate(found, view)]
        lines += [[], *optimizer_details.settings(found, view)]
    return lines + _terms(found, view) + _advice(found, view)


def _verdict(found: Comparison, target: str, view: View) -> list[Line]:
    glyphs, best = view.glyphs, found.best
    if best is None:
        lead = (f"{glyphs.marks['error']} {heading('none')}  ", "error")
        return paragraph(f"{target}: {without_best(found)}", view, 0, "strong", lead)
    rate = f" at {units.number(best.learning_rate)}" if best.learning_rate is not None else ""
    loss = f"{'validation ' if found.validated else ''}loss {units.number(best.score(found.validated))}"
    text = f"{target}: {translate(loss + rate)}, {translate(standing(found))}"
    style = "note" if found.undecided else "healthy"
    lead = (f"{glyphs.marks[style]} {glyphs.text(best.name)}  ", style)
    return paragraph(text, view, 0, "strong", lead)


def _row(row: Contestant, found: Comparison, view: View) -> GridRow:
    name = view.glyphs.text(row.name)
    if row is found.best:
        style = "note" if found.undecided else "healthy"
        return GridRow(name, view.glyphs.marks[style], style)
    return GridRow(name, "=" if row.tied_with_best else "")


def _terms(found: Comparison, view: View) -> list[Line]:
    return [[], *sentences([f" {view.glyphs.dot} ".join(facts(found))], view, "quiet")]


def _advice(found: Comparison, view: View) -> list[Line]:
    lines: list[Line] = [[]]
    for reason in found.reasons:
        lines += sentences([reason], view)
    if found.recommendation:
        lines += [[], *_pasted(found.recommendation, view)]
    return lines


def rate_search(found: RateSearch, view: View) -> list[Line]:
    """The curve of the median seed, and the readings of all."""
    lines: list[Line] = []
    if not view.quiet:
        middle = sorted(found.tests, key=lambda test: min(test.losses))[len(found.tests) // 2]
        what = heading("factor" if found.is_factor else "learning rate")
        marked = found.suggestion if found.code else None
        lines = [*plot(middle.rates, middle.losses, marked, what, view.width - INDENT, view.glyphs), []]
    lines += _readings(found, view) if found.code else []
    if found.warning:
        lines += sentences([found.warning], view, "warning")
    if not found.code:
        return lines
    return [*lines, [], *_pasted(pasted(found), view)]


def _pasted(code: str, view: View) -> list[Line]:
    """A line of code; folded where it is too long, so that pasting it still works."""
    pieces = folded_code(view.glyphs.text(code), view.width - INDENT)
    lines: list[Line] = [[(" " * INDENT, ""), (piece, "strong")] for piece in pieces]
    lines[0][0] = (f"{view.glyphs.arrow} ", "remedy")
    return lines


def folded_code(code: str, width: int) -> list[str]:
    """Python in pieces of `width` that mean the same one below the other: outside of brackets the end of a
    line is escaped, and no name, number or text is broken unless it is longer than a line."""
    pieces, depth = [""], 0
    for token in re.findall(r"'[^']*'|#.*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|\w+|.", code):
        within, depth = depth, depth + (token in "([{") - (token in ")]}")
        for part in fold(token, width):
            # Where the line may end outside of brackets, room is left for the escape.
            room = width - (0 if within and depth else len(ESCAPE))
            if pieces[-1] and width_of((pieces[-1] + part).rstrip()) > room:
                pieces[-1] = pieces[-1].rstrip() + ("" if within else ESCAPE)
                pieces.append("")
            pieces[-1] += part if pieces[-1] else part.lstrip()
    return pieces


def _readings(found: RateSearch, view: View) -> list[Line]:
    others = ", ".join(f"{name} {units.number(value)}" for name, value in found.others.items())
    less = f"Other readings of the same curves, less reliable: {others}."
    lines = sentences([suggestion(found)], view, "strong")
    return lines + sentences([less], view, "quiet")

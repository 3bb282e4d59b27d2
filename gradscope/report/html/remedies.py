"""Remedies on the page: what each brought, and the edit of each that helps."""

from __future__ import annotations

from gradscope.records import Remedies, TriedRemedy
from gradscope.report.html.markup import NOTHING, Frame, Html, code, details, joined, prose, table, tag
from gradscope.report.shared.remedies import HORIZON, columns, failures, lines_of_edit, rows, summary
from gradscope.report.shared.table import filled


def remedies(found: Remedies | None, frame: Frame) -> Html:
    if found is None:
        return NOTHING
    shown = rows(found, show_all=True)
    kept = filled(columns(shown))
    lines = [[each.what, *(column.cells[place] for column in kept)] for place, each in enumerate(shown)]
    return frame.section(
        "remedies",
        "Remedies that were tried",
        *(tag("p", prose(sentence)) for sentence in summary(found)),
        table(
            ["remedy", *(column.heading for column in kept)],
            lines,
            caption="remedies",
            words=[place for place, column in enumerate(kept, 1) if not column.right],
        )
        if lines
        else NOTHING,
        joined(tag("p", prose(sentence), class_="quiet") for sentence in failures(shown)),
        joined(_edit(each, each is found.best) for each in shown if each.helps),
        tag("p", HORIZON, class_="quiet") if found.best is not None else NOTHING,
    )


def _edit(tried: TriedRemedy, first: bool) -> Html:
    lines = joined((code(line) for line in lines_of_edit(tried.diff)), "\n")
    return details(f"The edit: {tried.what}", tag("pre", lines), open=first)

"""How a report shows itself: as HTML in a notebook, as the terminal's text where it is printed, as JSON, as a
data frame or a figure."""

from __future__ import annotations

import io
import shutil
from typing import Any

from gradscope.records import Finding, Report, Suite
from gradscope.records.diff import Changes, SuiteChanges
from gradscope.report import View, figures, frames, html, reporter
from gradscope.report.diff import RENDERERS

USUAL = 100
"""Columns where no terminal says how many there are."""


def as_text(report: Report) -> str:
    page = io.StringIO()
    view = View(width=shutil.get_terminal_size((USUAL, 40)).columns)
    reporter("terminal").render(Suite.of(report), page, view)
    return page.getvalue().rstrip("\n")


def as_html(report: Report) -> str:
    return html.fragment(report)


def as_page(report: Report) -> str:
    page = io.StringIO()
    reporter("html").render(Suite.of(report), page, View())
    return page.getvalue()


def as_json(report: Report) -> str:
    page = io.StringIO()
    reporter("json").render(Suite.of(report), page, View())
    return page.getvalue()


def as_frame(report: Report, what: str, library: str | None) -> Any:
    return frames.frame(report, what, library)


def as_figure(report: Report, finding: Finding | None) -> Any:
    return figures.figure(report, finding)


def as_changes(changes: Changes) -> str:
    page = io.StringIO()
    view = View(width=shutil.get_terminal_size((USUAL, 40)).columns)
    RENDERERS["terminal"](SuiteChanges((changes,), alone=True), page, view)
    return page.getvalue().rstrip("\n")

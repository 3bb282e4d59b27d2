"""The report for people at a terminal: the verdict, the table, the findings, and what they rest on."""

from __future__ import annotations

from typing import TextIO

from gradscope.records import Report, Suite
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import Glyphs, glyphs_for
from gradscope.report.shared.standing import against_lines
from gradscope.report.terminal import optimizers, sections
from gradscope.report.terminal.gradients import gradients
from gradscope.report.terminal.layer_table import layer_table
from gradscope.report.terminal.lines import Line, print_lines
from gradscope.report.terminal.origin import lead_up
from gradscope.report.terminal.targets import several


class TerminalReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        lines = suite_lines(suite, view, glyphs_for(getattr(out, "encoding", None)))
        print_lines(lines, out, view.color)


def suite_lines(suite: Suite, view: View, glyphs: Glyphs) -> list[Line]:
    """One report as it is; several as a table of targets, after each one's report where all is wanted."""
    if suite.only is not None:
        return report_lines(suite.only, view, glyphs)
    full = [report_lines(report, view, glyphs) for report in suite.reports] if view.verbose else []
    return [*(line for block in full for line in [*block, []]), *several(suite, view, glyphs)]


def report_lines(report: Report, view: View, glyphs: Glyphs) -> list[Line]:
    width, measured = view.width, report.measurement
    notes = [] if view.quiet else sections.not_judged(report, width, glyphs)
    if measured.optimizers is not None:
        return [*optimizers.comparison(measured.optimizers, report.target, view, glyphs), *notes]
    if measured.rate_search is not None:
        return [*optimizers.rate_search(measured.rate_search, view, glyphs), *notes]
    lines = sections.verdict(report, width, glyphs)
    if not view.quiet:
        table = layer_table(report, view, glyphs)
        lines += [[], *table] if table else []
        lines += sections.recurrences(report, width, glyphs)
        lines += gradients(measured, view, glyphs)
    lines += sections.findings(report, view, glyphs)
    lines += against_lines(report, width, glyphs, view.show_all)
    if not view.quiet:
        lines += lead_up(report, width, glyphs)
        lines += notes
        lines += sections.footer(report, width, glyphs)
    return lines


REPORTER = TerminalReporter()

"""The report for people at a terminal: the verdict, the table, the findings, and what they rest on."""

from __future__ import annotations

from typing import TextIO

from gradscope.records import Measurement, Report, Suite
from gradscope.report.shared.base import Line, View
from gradscope.report.terminal import optimizers, sections
from gradscope.report.terminal.baseline import baseline_lines
from gradscope.report.terminal.cost import cost
from gradscope.report.terminal.curvature import curvature
from gradscope.report.terminal.gradients import gradients
from gradscope.report.terminal.history import training_over_time
from gradscope.report.terminal.layer_table import layer_table
from gradscope.report.terminal.lines import print_lines
from gradscope.report.terminal.memory import memory
from gradscope.report.terminal.origin import lead_up
from gradscope.report.terminal.remedies import remedies
from gradscope.report.terminal.small_tables import tables
from gradscope.report.terminal.targets import several
from gradscope.report.terminal.through_time import through_time


class TerminalReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        print_lines(suite_lines(suite, view.on(out)), out, view.color)


def suite_lines(suite: Suite, view: View) -> list[Line]:
    """One report as it is; several as a table of targets, after each one's report where all is wanted."""
    if suite.only is not None:
        return report_lines(suite.only, view)
    full = [report_lines(report, view) for report in suite.reports] if view.verbose else []
    return [*(line for block in full for line in [*block, []]), *several(suite, view)]


def report_lines(report: Report, view: View) -> list[Line]:
    """Each part that was measured: of optimizers and of a range test their own verdict comes first."""
    notes = [] if view.quiet else sections.not_judged(report, view)
    found = sections.findings(report, view)
    if report.optimizers is not None:
        return [*optimizers.comparison(report.optimizers, report.target, view), *found, *notes]
    if report.rates is not None:
        return [*optimizers.rate_search(report.rates, view), *found, *notes]
    lines = sections.verdict(report, view)
    if report.remedies is not None:
        return [*lines, *found, *remedies(report.remedies, view), *notes]
    if report.memory is not None:
        footer = [] if view.quiet else sections.footer(report, view)
        return [*lines, *found, *memory(report.memory, view), *notes, *footer]
    if report.curvature is not None:
        footer = [] if view.quiet else sections.footer(report, view)
        return [*lines, *found, *curvature(report.curvature, view), *notes, *footer]
    if report.cost is not None:
        footer = [] if view.quiet else sections.footer(report, view)
        return [*lines, *found, *cost(report.cost, view), *notes, *footer]
    if not view.quiet:
        lines += _flow(report, report.flow, view) if report.flow is not None else []
        lines += sections.short_training(report, view)
        lines += training_over_time(report.history, report.findings, view)
        lines += gradients(report.gradients, view)
    lines += found
    lines += baseline_lines(report, view)
    if not view.quiet:
        lines += lead_up(report.flow.origin if report.flow is not None else None, view)
        lines += notes
        lines += sections.footer(report, view)
    return lines


def _flow(report: Report, flow: Measurement, view: View) -> list[Line]:
    table = layer_table(flow.layers, report.findings, view)
    return [
        *([[], *table] if table else []),
        *sections.recurrences(flow.recurrences, view),
        *through_time(flow.time_credit, flow.truncation, view),
        *tables(flow, view),
    ]


REPORTER = TerminalReporter()

"""Several targets at a terminal: one row each, then what is wrong with those that fail."""

from __future__ import annotations

from gradscope.records import Outcome, Suite
from gradscope.report.shared import units
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.targets import NOT_JUDGED, columns, style, totals, unexamined
from gradscope.report.terminal.baseline import baseline_lines
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.lines import LONGEST_LINE, paragraph
from gradscope.report.terminal.sections import finding_lines

MOST_FINDINGS = 3
"""Shown of each target without `--all`."""
INDENT = 2


def several(suite: Suite, view: View) -> list[Line]:
    """What each target came to, worst news last: that is where a terminal stops."""
    lines: list[Line] = [] if view.quiet else [*_table(suite, view), []]
    if not view.verbose:
        for outcome in suite.outcomes:
            lines += _failures(outcome, view)
            lines += _baseline(outcome, view)
    for outcome in suite.outcomes:
        lines += not_judged(outcome, view.at_most(LONGEST_LINE))
    lines += paragraph(totals(suite), view, 0, "strong")
    lines += paragraph(unexamined(suite), view, 0, "quiet") if unexamined(suite) else []
    if (count := _with_gaps(suite)) and not view.verbose:
        text = (
            f"{units.counted(count, 'target')} {'has a part' if count == 1 else 'have parts'} that "
            f"{'was' if count == 1 else 'were'} not judged: --verbose says which."
        )
        lines += paragraph(text, view, 0, "quiet")
    return lines


def _with_gaps(suite: Suite) -> int:
    """Reports in which something was left out."""
    return sum(bool(report.skipped or report.unseen) for report in suite.reports)


def _table(suite: Suite, view: View) -> list[Line]:
    marks, text = view.glyphs.marks, view.glyphs.text
    rows = [GridRow(text(o.target), marks[style(o)], style(o)) for o in suite.outcomes]
    return grid("target", rows, columns(suite), view.width)


def _baseline(outcome: Outcome, view: View) -> list[Line]:
    lines = baseline_lines(outcome.report, view, outcome.target) if outcome.report else []
    return [*lines[1:], []] if lines else []


def _failures(outcome: Outcome, view: View) -> list[Line]:
    failures = outcome.failures
    if not failures:
        return []
    shown = failures if view.show_all else failures[:MOST_FINDINGS]
    lines: list[Line] = [[(view.glyphs.text(outcome.target), "strong")]]
    for finding in shown:
        block = finding_lines(finding, view.at_most(LONGEST_LINE).indented(INDENT))
        lines += [[(" " * INDENT, ""), *line] for line in block]
    if len(failures) > len(shown):
        rest = units.counted(len(failures) - len(shown), "more finding")
        lines += paragraph(f"{view.glyphs.ellipsis} {rest}: --all shows every one", view, 2, "quiet")
    return [*lines, []]


def not_judged(outcome: Outcome, view: View) -> list[Line]:
    """Why there is no report: in the words of the error, or of what became of the process."""
    error, text = outcome.error, view.glyphs.text
    if error is None:
        return []
    lines = paragraph(outcome.target, view, 0, "strong", (f"{NOT_JUDGED}: ", "warning"))
    lines += paragraph(" ".join(part for part in (error.what, error.why) if part), view, INDENT)
    lines += [[(f"    {text(line)}", "quiet")] for line in error.details.splitlines() if line.strip()]
    if error.fix:
        lines += paragraph(error.fix, view, INDENT, "", (f"{view.glyphs.arrow} ", "remedy"))
    return [*lines, []]

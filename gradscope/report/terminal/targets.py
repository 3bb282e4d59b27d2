"""Several targets at a terminal: one row each, then what is wrong with those that fail."""

from __future__ import annotations

from collections import Counter

from gradscope.records import Outcome, Severity, Standing, Suite
from gradscope.report.shared import units
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.shared.standing import against_lines, in_baseline
from gradscope.report.terminal.grid import Column, Row, grid
from gradscope.report.terminal.lines import Line, paragraph
from gradscope.report.terminal.sections import LONGEST_LINE, NOTE, finding_lines

MOST_FINDINGS = 3
"""Shown of each target without `--all`."""
INDENT = 2
NOT_JUDGED = "not judged"


def several(suite: Suite, view: View, glyphs: Glyphs) -> list[Line]:
    """What each target came to, worst news last: that is where a terminal stops."""
    lines: list[Line] = [] if view.quiet else [*_table(suite, view, glyphs), []]
    if not view.verbose:
        for outcome in suite.outcomes:
            lines += _failures(outcome, view, glyphs)
            lines += _against(outcome, view, glyphs)
    for outcome in suite.outcomes:
        lines += not_judged(outcome, min(view.width, LONGEST_LINE), glyphs)
    lines += paragraph(totals(suite), view.width, 0, "strong")
    if (gaps := _with_gaps(suite)) and not view.verbose:
        have = "has a part that was" if gaps == 1 else "have parts that were"
        text = f"{units.counted(gaps, 'target')} {have} not judged: --verbose says which."
        lines += paragraph(text, view.width, 0, "quiet")
    return lines


def _with_gaps(suite: Suite) -> int:
    """Reports in which something was left out; a note leaves nothing out."""
    return sum(
        any(entry.what != NOTE for entry in report.skipped) or bool(report.measurement.unseen)
        for report in suite.reports
    )


def totals(suite: Suite) -> str:
    """`2 of 40 targets fail, 1 not judged: 3 errors, 1 warning (2 in the baseline).`"""
    fail = sum(bool(outcome.failures) for outcome in suite.outcomes)
    missing = sum(outcome.report is None for outcome in suite.outcomes)
    verb = "fails" if fail == 1 or len(suite.outcomes) == 1 else "fail"
    text = f"{units.count(fail)} of {units.counted(len(suite.outcomes), 'target')} {verb}"
    text += f", {units.count(missing)} not judged" if missing else ""
    found = [finding for report in suite.reports for finding in report.findings]
    counts = Counter(finding.severity for finding in found)
    kinds = [units.counted(counts[severity], severity.value) for severity in Severity if counts[severity]]
    text += f": {', '.join(kinds)}" if kinds else ""
    return f"{text}{in_baseline(found)}."


def word(outcome: Outcome) -> str:
    """The verdict in one word or two."""
    return outcome.report.verdict if outcome.report is not None else NOT_JUDGED


def _table(suite: Suite, view: View, glyphs: Glyphs) -> list[Line]:
    rows = [Row(glyphs.text(outcome.target), *_mark(outcome, glyphs)) for outcome in suite.outcomes]
    return grid("target", rows, columns(suite), view.width)


def columns(suite: Suite) -> list[Column]:
    """One cell for each target; an empty column says nothing about any."""
    outcomes = suite.outcomes
    return [
        Column(("", "verdict"), 0, [word(outcome) for outcome in outcomes], right=False),
        *(
            Column(("", f"{severity.value}s"), 1, [_count(outcome, severity) for outcome in outcomes])
            for severity in Severity
        ),
        Column(("in the", "baseline"), 2, [_known(outcome) for outcome in outcomes]),
        Column(("", "layers"), 4, [_layers(outcome) for outcome in outcomes]),
        Column(("", "loss"), 3, [_loss(outcome) for outcome in outcomes]),
        Column(("gradient", "norm"), 3, [_norm(outcome) for outcome in outcomes]),
        Column(("", "time"), 5, [_time(outcome) for outcome in outcomes]),
    ]


def _mark(outcome: Outcome, glyphs: Glyphs) -> tuple[str, str]:
    if outcome.report is None:
        return glyphs.marks["warning"], "warning"
    if outcome.failures:
        return glyphs.marks["error"], "error"
    return glyphs.marks["healthy"], "healthy"


def _count(outcome: Outcome, severity: Severity) -> str:
    count = sum(f.severity is severity for f in outcome.report.findings) if outcome.report else 0
    return units.count(count) if count else ""


def _known(outcome: Outcome) -> str:
    count = sum(f.standing is Standing.KNOWN for f in outcome.report.findings) if outcome.report else 0
    return units.count(count) if count else ""


def _layers(outcome: Outcome) -> str:
    return units.count(len(outcome.report.measurement.layers)) if outcome.report else ""


def _loss(outcome: Outcome) -> str:
    return units.cell(outcome.report.measurement.loss) if outcome.report else ""


def _norm(outcome: Outcome) -> str:
    return units.cell(outcome.report.measurement.gradient_norm) if outcome.report else ""


def _time(outcome: Outcome) -> str:
    timing = outcome.report.timing if outcome.report else None
    spent = timing.load_s + timing.trace_s + timing.compile_s + timing.run_s if timing else 0.0
    return units.seconds(spent) if spent else ""


def _against(outcome: Outcome, view: View, glyphs: Glyphs) -> list[Line]:
    report = outcome.report
    lines = against_lines(report, view.width, glyphs, view.show_all, outcome.target) if report else []
    return [*lines[1:], []] if lines else []


def _failures(outcome: Outcome, view: View, glyphs: Glyphs) -> list[Line]:
    failures = outcome.failures
    if not failures:
        return []
    shown = failures if view.show_all else failures[:MOST_FINDINGS]
    lines: list[Line] = [[(glyphs.text(outcome.target), "strong")]]
    for finding in shown:
        block = finding_lines(finding, min(view.width, LONGEST_LINE) - INDENT, glyphs)
        lines += [[(" " * INDENT, ""), *line] for line in block]
    if len(failures) > len(shown):
        rest = units.counted(len(failures) - len(shown), "more finding")
        lines.append([(f"  {glyphs.ellipsis} {rest}: --all shows every one", "quiet")])
    return [*lines, []]


def not_judged(outcome: Outcome, width: int, glyphs: Glyphs) -> list[Line]:
    """Why there is no report: in the words of the error, or of what became of the process."""
    trouble = outcome.not_judged
    if trouble is None:
        return []
    lines = paragraph(glyphs.text(outcome.target), width, 0, "strong", (f"{NOT_JUDGED}: ", "warning"))
    lines += paragraph(
        glyphs.text(" ".join(part for part in (trouble.what, trouble.why) if part)), width, INDENT
    )
    lines += [
        [(f"    {glyphs.text(line)}", "quiet")] for line in trouble.details.splitlines() if line.strip()
    ]
    if trouble.fix:
        lines += paragraph(glyphs.text(trouble.fix), width, INDENT, "", (f"{glyphs.arrow} ", "remedy"))
    return [*lines, []]

"""What fails the gate, as plain text without colour: for an `AssertionError`, and for pytest."""

from __future__ import annotations

import io
from collections.abc import Sequence

from gradscope.records import Outcome
from gradscope.report.shared import units
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.glyphs import glyphs_for
from gradscope.report.shared.wording import by_severity, ranked
from gradscope.report.terminal.lines import LONGEST_LINE, paragraph, print_lines
from gradscope.report.terminal.sections import finding_lines
from gradscope.report.terminal.targets import not_judged

MOST_FINDINGS = 5
"""A traceback that scrolls away is not read; the gravest come first."""
NARROWEST = 40


def failing_text(outcome: Outcome, width: int, encoding: str | None) -> str:
    """The findings that the policy names, or why nothing is said; lines of at most `width` cells."""
    view = View(width=max(NARROWEST, min(width, LONGEST_LINE)), glyphs=glyphs_for(encoding))
    if outcome.error is not None:
        return _text(not_judged(outcome, view))
    found = ranked(outcome.failures)
    lines = _headline(outcome, view)
    for finding in found[:MOST_FINDINGS]:
        lines += [[], *finding_lines(finding, view)]
    if len(found) > MOST_FINDINGS:
        rest = units.counted(len(found) - MOST_FINDINGS, "more finding")
        lines += [[], *paragraph(f"{view.glyphs.ellipsis} {rest}", view, 0, "")]
    return _text(lines)


def _headline(outcome: Outcome, view: View) -> list[Line]:
    flow = outcome.report.flow if outcome.report else None
    where = f" in {units.counted(len(flow.layers), 'layer')}" if flow and flow.layers else ""
    return paragraph(f"{outcome.target}: {by_severity(outcome.failures)}{where}", view)


def _text(lines: Sequence[Line]) -> str:
    page = io.StringIO()
    print_lines(lines, page, color=False)
    return page.getvalue().rstrip("\n")

"""What fails the gate, as plain text without colour: for an `AssertionError`, and for pytest."""

from __future__ import annotations

import io
from collections.abc import Sequence

from gradscope.records import Outcome
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import Glyphs, glyphs_for
from gradscope.report.terminal.lines import Line, paragraph, print_lines
from gradscope.report.terminal.sections import LONGEST_LINE, by_severity, finding_lines
from gradscope.report.terminal.targets import not_judged

MOST_FINDINGS = 5
"""A traceback that scrolls away is not read; the gravest come first."""
NARROWEST = 40


def failing_text(outcome: Outcome, width: int, encoding: str | None) -> str:
    """The findings that the policy names, or why nothing is said; lines of at most `width` cells."""
    glyphs = glyphs_for(encoding)
    width = max(NARROWEST, min(width, LONGEST_LINE))
    if outcome.not_judged is not None:
        return _text(not_judged(outcome, width, glyphs))
    ranked = sorted(outcome.failures, key=lambda finding: finding.severity.rank)
    lines = _headline(outcome, width, glyphs)
    for finding in ranked[:MOST_FINDINGS]:
        lines += [[], *finding_lines(finding, width, glyphs)]
    if len(ranked) > MOST_FINDINGS:
        lines += [
            [],
            [(f"{glyphs.ellipsis} {units.counted(len(ranked) - MOST_FINDINGS, 'more finding')}", "")],
        ]
    return _text(lines)


def _headline(outcome: Outcome, width: int, glyphs: Glyphs) -> list[Line]:
    layers = len(outcome.report.measurement.layers) if outcome.report else 0
    where = f" in {units.counted(layers, 'layer')}" if layers else ""
    return paragraph(glyphs.text(f"{outcome.target}: {by_severity(outcome.failures)}{where}"), width, 0)


def _text(lines: Sequence[Line]) -> str:
    page = io.StringIO()
    print_lines(lines, page, color=False)
    return page.getvalue().rstrip("\n")

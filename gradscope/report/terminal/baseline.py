"""What the baseline says of the run as a whole, at a terminal."""

from __future__ import annotations

from gradscope.language import heading
from gradscope.records import Report
from gradscope.report.shared import units
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.baseline import MOST_FIXED, fixed_text
from gradscope.report.terminal.lines import paragraph


def baseline_lines(report: Report, view: View, target: str = "") -> list[Line]:
    """What was fixed since the baseline, by name, and why it should be written again; below a blank line."""
    found = report.baseline
    if found is None or not (found.fixed or found.stale):
        return []
    title = f"{target}: beside the baseline {found.file}" if target else f"baseline {found.file}"
    lines: list[Line] = [[], *paragraph(title, view, 0, "strong")]
    shown = found.fixed if view.show_all else found.fixed[:MOST_FIXED]
    for known in shown:
        lines += paragraph(fixed_text(known), view, 2, "", (f"{heading('fixed:')} ", "healthy"))
    if len(found.fixed) > len(shown):
        rest = units.count(len(found.fixed) - len(shown))
        lines += paragraph(
            f"{view.glyphs.ellipsis} {rest} more are fixed: --all names every one", view, 2, "quiet"
        )
    if found.stale:
        lines += paragraph(found.stale, view, 2, "", (f"{heading('stale')}: ", "warning"))
    return lines

"""What seeds and the baseline say of a finding, and of the run as a whole: the same words in every format."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Finding, Known, Report, Standing
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import Glyphs, visible
from gradscope.report.terminal.lines import Line, paragraph

MOST_FIXED = 10
"""Named without `--all`."""
WORDS = {Standing.NEW: "new", Standing.KNOWN: "in the baseline", Standing.WORSE: "worse than in the baseline"}


def remarks(finding: Finding) -> str:
    """`in the baseline, in 4 of 5 seeds`; empty for a run of one seed without a baseline."""
    said = [] if finding.standing is None else [WORDS[finding.standing]]
    if finding.votes is not None:
        said.append(f"in {units.count(finding.votes.found)} of {units.counted(finding.votes.of, 'seed')}")
    return ", ".join(said)


def in_baseline(found: Sequence[Finding]) -> str:
    """` (2 in the baseline)`, to stand behind a count of findings; empty for none."""
    known = sum(finding.standing is Standing.KNOWN for finding in found)
    return f" ({units.count(known)} in the baseline)" if known else ""


def fixed_text(known: Known) -> str:
    """What a baseline knows and the run does not have: `vanishing-gradient in layers[0]`."""
    where = known.layer or known.parameter or known.text
    return visible(f"{known.rule} in {where}" if where else known.rule)


def against_lines(report: Report, width: int, glyphs: Glyphs, show_all: bool, target: str = "") -> list[Line]:
    """What was fixed since the baseline, by name, and why it should be written again; below a blank line."""
    against = report.against
    if against is None or not (against.fixed or against.stale):
        return []
    title = f"{target}: beside the baseline {against.baseline}" if target else f"baseline {against.baseline}"
    lines: list[Line] = [[], *paragraph(glyphs.text(title), width, 0, "strong")]
    shown = against.fixed if show_all else against.fixed[:MOST_FIXED]
    for known in shown:
        lines += paragraph(glyphs.text(fixed_text(known)), width, 2, "", ("fixed: ", "healthy"))
    if len(against.fixed) > len(shown):
        rest = units.count(len(against.fixed) - len(shown))
        lines.append([(f"  {glyphs.ellipsis} {rest} more are fixed: --all names every one", "quiet")])
    if against.stale:
        lines += paragraph(glyphs.text(against.stale), width, 2, "", ("stale: ", "warning"))
    return lines

"""What seeds and the baseline say of a finding, and of the run as a whole: the same words in every format."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import BaselineStatus, Finding, KnownFinding, Votes
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import visible

MOST_FIXED = 10
"""Named without `--all`."""
WORDS = {
    BaselineStatus.NEW: "new",
    BaselineStatus.UNCHANGED: "in the baseline",
    BaselineStatus.WORSE: "worse than in the baseline",
}


def remarks(finding: Finding) -> str:
    """`in the baseline, in 4 of 5 seeds`; empty for a run of one seed without a baseline."""
    said = [] if finding.baseline_status is None else [WORDS[finding.baseline_status]]
    if finding.votes is not None:
        said.append(seeds_with(finding.votes))
    return ", ".join(said)


def seeds_with(votes: Votes) -> str:
    """`in 4 of 5 seeds`."""
    found, of = units.count(votes.found), units.count(votes.of)
    return f"in {found} of {of} {'seed' if votes.of == 1 else 'seeds'}"


def in_baseline(found: Sequence[Finding]) -> str:
    """` (2 in the baseline)`, to stand behind a count of findings; empty for none."""
    known = sum(finding.baseline_status is BaselineStatus.UNCHANGED for finding in found)
    return f" ({units.count(known)} in the baseline)" if known else ""


def fixed_text(known: KnownFinding) -> str:
    """What a baseline knows and the run does not have: `vanishing-gradient in layers[0]`."""
    where = known.layer or known.parameter or known.text
    return visible(f"{known.rule} in {where}" if where else known.rule)

"""What a gate fails on: data that travels with a judged target, so that every format can show it."""

from __future__ import annotations

from gradscope.records.common import Severity
from gradscope.records.finding import BaselineStatus, Finding
from gradscope.records.record import record

SEVERITIES = frozenset(severity.value for severity in Severity)


@record
class Policy:
    """What a run fails on: severities (each with all graver ones) and names of rules; empty for never."""

    fail_on: tuple[str, ...] = (Severity.ERROR.value,)

    def fails(self, finding: Finding) -> bool:
        """An unchanged finding of the baseline never fails."""
        return finding.baseline_status is not BaselineStatus.UNCHANGED and any(
            finding.severity.rank <= Severity(entry).rank if entry in SEVERITIES else finding.rule == entry
            for entry in self.fail_on
        )

"""What a rule found, and what is known of it: in how many seeds it is there, and whether it is new."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gradscope.records.common import Number, Severity, Source
from gradscope.records.record import record

Key = tuple[str, str | None, str | None, str]
"""Rule, layer, parameter, and the text of the source line."""


class BaselineStatus(StrEnum):
    """How a finding compares with the baseline."""

    NEW = "new"
    UNCHANGED = "unchanged"
    WORSE = "worse"
    """The baseline has it, and it is clearly beyond what it was."""


@record
class Votes:
    """In how many of the seeds a finding was there."""

    found: int
    of: int


@record
class Finding:
    """One fault, named at its root, with the numbers that show it and one remedy."""

    rule: str
    severity: Severity
    layer: str | None
    parameter: str | None
    source: Source | None
    message: str
    evidence: Mapping[str, Number]
    remedy: str
    votes: Votes | None = None
    """`None` with one seed."""
    baseline_status: BaselineStatus | None = None
    """`None` without a baseline."""

    @property
    def key(self) -> Key:
        """What makes two findings the same one: lines may move."""
        text = self.source.text if self.source is not None else ""
        return self.rule, self.layer, self.parameter, text

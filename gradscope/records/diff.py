"""What changed between two runs: made by `changes.compare`, written by the `diff.py` of a format."""

from __future__ import annotations

import math
from enum import StrEnum

from gradscope import display
from gradscope.records.finding import Finding
from gradscope.records.record import record


class Presence(StrEnum):
    BOTH = "both"
    NEW = "new"
    GONE = "gone"


@record
class Change:
    """One number before and after; `None` is "not measured"."""

    old: float | None
    new: float | None

    @property
    def factor(self) -> float | None:
        """`new` over `old`; 1 where both are the same, infinite from zero; `None` where one is missing."""
        if self.old is None or self.new is None:
            return None
        if self.old == self.new or (math.isnan(self.old) and math.isnan(self.new)):
            return 1.0
        if self.old == 0:
            return math.copysign(math.inf, self.new) if not math.isnan(self.new) else math.nan
        return self.new / self.old

    @property
    def size(self) -> float:
        """How far the factor is from 1 in powers of ten; infinite for what cannot be said by a factor."""
        if self.old is None and self.new is None:
            return 0.0
        factor = self.factor
        if factor is None or not math.isfinite(factor) or factor <= 0:
            return math.inf
        return abs(math.log10(factor))


@record
class LayerChange:
    name: str
    presence: Presence
    gradient_rms: Change
    delta_rms: Change
    activation_rms: Change
    weight_rms: Change

    @property
    def numbers(self) -> tuple[Change, ...]:
        return self.gradient_rms, self.delta_rms, self.activation_rms, self.weight_rms

    @property
    def size(self) -> float:
        """Of the largest change; a layer that only one of the runs has comes before all."""
        return math.inf if self.presence is not Presence.BOTH else max(each.size for each in self.numbers)


@record
class Side:
    """What is said of one run as a whole."""

    target: str
    verdict: str


@record
class Changes:
    old: Side
    new: Side
    loss: Change
    gradient_norm: Change
    layers: tuple[LayerChange, ...]
    """The largest change first, equals in forward order."""
    new_findings: tuple[Finding, ...]
    gone_findings: tuple[Finding, ...]
    same_findings: tuple[Finding, ...]
    """As the new run tells them."""

    def __str__(self) -> str:
        """What `gradscope diff` prints."""
        return display.changes_of(self)


@record
class SuiteChanges:
    """Target by target, in the order of the new run."""

    targets: tuple[Changes, ...]
    """Those that both runs judged."""
    new: tuple[str, ...] = ()
    """Judged by the new run only."""
    gone: tuple[str, ...] = ()
    """Judged by the old run only, or not judged any more."""
    alone: bool = False
    """One target against one, whatever their names."""

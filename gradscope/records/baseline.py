"""What a baseline keeps of a target, and what a run is beside it."""

from __future__ import annotations

from collections.abc import Mapping

from gradscope.records.common import Number, Severity
from gradscope.records.finding import Key, Votes
from gradscope.records.record import record


@record
class LayerProfile:
    """The numbers of one layer that a baseline keeps; each means what it means in `Layer`."""

    name: str
    gradient_rms: float
    delta_norm: float | None
    activation_rms: float | None
    weight_rms: float
    delta_norm_spread: float | None = None


@record
class Reference:
    """How a target was when its baseline was written: what `changed-profile` measures a run against."""

    baseline: str
    """The file, as messages name it."""
    layers: tuple[LayerProfile, ...]


@record
class KnownFinding:
    """A finding as a baseline keeps it: found again by rule, layer, parameter and the text of its line."""

    rule: str
    layer: str | None
    parameter: str | None
    text: str
    """The source line, stripped: lines may move."""
    evidence: Mapping[str, Number]
    severity: Severity | None = None
    votes: Votes | None = None
    """`None` with one seed."""

    @property
    def key(self) -> Key:
        """As that of the finding."""
        return self.rule, self.layer, self.parameter, self.text


@record
class BaselineResult:
    """The run compared with its baseline; each finding has its own `baseline_status`."""

    file: str
    fixed: tuple[KnownFinding, ...] = ()
    """What the baseline has, and this run does not."""
    stale: str = ""
    """Why the baseline should be written again; empty where it need not."""

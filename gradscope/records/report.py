"""The whole of a run: what was measured, what was found, what it took."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gradscope.records.common import Number, Severity, Skipped, Source
from gradscope.records.comparison import Comparison, RateSearch
from gradscope.records.correctness import ElementCheck, GradientCheck, RuleCheck, Transposition
from gradscope.records.histograms import Histogram
from gradscope.records.network import Layer, Parameter, Recurrence
from gradscope.records.nonfinite import Hazard, NonFiniteInput, NonFiniteValue, Origin
from gradscope.records.reference import Reference


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything the passes produced for one problem. Layers stand in forward order."""

    loss: float
    layers: tuple[Layer, ...]
    parameters: tuple[Parameter, ...]
    recurrences: tuple[Recurrence, ...] = ()
    nonfinite_inputs: tuple[NonFiniteInput, ...] = ()
    nonfinite_values: tuple[NonFiniteValue, ...] = ()
    origin: Origin | None = None
    """Where the first of them was born; `None` where everything is finite or it could not be found."""
    hazards: tuple[Hazard, ...] = ()
    gradients: tuple[GradientCheck, ...] = ()
    """By `verify`, leaf by leaf."""
    elements: tuple[ElementCheck, ...] = ()
    custom_rules: tuple[RuleCheck, ...] = ()
    transposition: Transposition | None = None
    optimizers: Comparison | None = None
    """By `compare-optimizers`."""
    rate_search: RateSearch | None = None
    """By `find-lr`."""
    histograms: tuple[Histogram, ...] = ()
    """By `check --histograms`: of each layer's weights and gradient, in forward order."""
    batches: int = 1
    loss_spread: float | None = None
    """Standard deviation of the loss over the batches; `None` with one batch."""
    optimizer_given: bool = False
    unseen: tuple[Skipped, ...] = ()
    """Operations that consume parameters and that gradscope ran without looking inside."""
    reference: Reference | None = None
    """How it was when the baseline was written; `None` without one."""

    @property
    def gradient_norm(self) -> float:
        """Global norm: what `optax.global_norm` and clipping see."""
        norms = [p.gradient_norm for p in self.parameters]
        return math.nan if any(map(math.isnan, norms)) else math.hypot(*norms)


Key = tuple[str, str | None, str | None, str]
"""Rule, layer, parameter, and the text of the source line."""


class Standing(StrEnum):
    """What the baseline says of a finding."""

    NEW = "new"
    KNOWN = "known"
    WORSE = "worse"
    """Known, and clearly beyond what it was."""


@dataclass(frozen=True, slots=True)
class Votes:
    """In how many of the seeds a finding was there."""

    found: int
    of: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One sickness, named at its root, with the numbers that show it and one remedy."""

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
    standing: Standing | None = None
    """`None` without a baseline."""

    @property
    def key(self) -> Key:
        """What makes two findings the same one: lines may move."""
        text = self.source.text if self.source is not None else ""
        return self.rule, self.layer, self.parameter, text


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds of each part of a run."""

    load_s: float = 0.0
    trace_s: float = 0.0
    compile_s: float = 0.0
    run_s: float = 0.0

    def plus(self, other: Timing) -> Timing:
        return Timing(
            self.load_s + other.load_s,
            self.trace_s + other.trace_s,
            self.compile_s + other.compile_s,
            self.run_s + other.run_s,
        )


@dataclass(frozen=True, slots=True)
class Tool:
    gradscope: str
    jax: str
    backend: str
    """`cpu`, `gpu` or `tpu`."""


@dataclass(frozen=True, slots=True)
class Known:
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


@dataclass(frozen=True, slots=True)
class Against:
    """The run beside its baseline; each finding has its own `standing`."""

    baseline: str
    """The file."""
    fixed: tuple[Known, ...] = ()
    """What the baseline knows, and this run does not have."""
    stale: str = ""
    """Why the baseline should be written again; empty where it need not."""


@dataclass(frozen=True, slots=True)
class Report:
    """The measurement, the findings, and what was skipped and why."""

    target: str
    tool: Tool
    measurement: Measurement
    findings: tuple[Finding, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    timing: Timing = field(default_factory=Timing)
    seeds: tuple[int, ...] = (0,)
    """The measurement is that of the first; findings are those of most of them."""
    against: Against | None = None
    """What the baseline says of the run as a whole; `None` without one."""
    near: tuple[Finding, ...] = ()
    """What was there in some of the seeds, but not in most: no findings, and told in `skipped`."""
    rules: tuple[str, ...] = ()
    """The rules that judged it: where one is silent about a layer, that layer has passed it."""

    @property
    def verdict(self) -> str:
        """`sick` where a finding is an error or no optimizer lowers the loss, else `healthy`; the gate's
        policy may be stricter."""
        compared, searched = self.measurement.optimizers, self.measurement.rate_search
        untrained = (compared and not compared.best) or (searched and not searched.code)
        sick = untrained or any(f.severity is Severity.ERROR for f in self.findings)
        return "sick" if sick else "healthy"

    def __str__(self) -> str:
        """What `gradscope check` prints."""
        from gradscope.report.display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from gradscope.report.display import as_html

        return as_html(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """For a notebook, and as text for one that is shown at a terminal."""
        del include, exclude  # Jupyter leaves out what it does not want
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

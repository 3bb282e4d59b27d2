"""What a rule is: a function from a measurement to hits, and the page that explains it.

A rule file holds one decorated function. Its module docstring is its documentation page; nothing about
the rule is written anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from gradscope.records import Finding, Measurement, Number, Severity, Skipped, Source

Limits = Mapping[str, float]
VERIFIED = "correctness"
"""The family of rules that judge what `verify` measured."""
CHANGE = "change"
"""The family of rules that judge a run against its baseline."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rule saw: a finding without the rule's name, and how far it reaches."""

    message: str
    remedy: str
    evidence: Mapping[str, Number]
    layer: str | None = None
    parameter: str | None = None
    source: Source | None = None
    severity: Severity | None = None
    """`None`: the rule's own."""
    layers: tuple[str, ...] = ()
    """The layers that are sick; empty: `layer` alone."""
    explains: tuple[str, ...] | None = ()
    """Layers whose symptoms this hit accounts for; `None`: everything in the run."""


Check = Callable[[Measurement, Limits], Iterable[Hit | Skipped]]


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    family: str
    summary: str
    """First line of the page."""
    page: str
    """Markdown with the headings of `gradscope.rules.pages.HEADINGS`."""
    severity: Severity
    """The gravest that it reports."""
    limits: Limits
    symptom_of: tuple[str, ...]
    """Rules whose hits account for hits of this one."""
    check: Check
    measure: str | None = None
    """The key of the evidence that says how bad it is, as a ratio to what is level: `total`. It is worse the
    further its logarithm is from 0; `None` where a finding has no degree."""
    needs: str | None = None
    """The part of the measurement without which it judges nothing: `gradients`, `reference`."""

    @property
    def yes_or_no(self) -> bool:
        """Whether it has no limit that a finding could be near to: a NaN is no matter of more or less."""
        return not self.limits

    def can_judge(self, measurement: Measurement) -> bool:
        return self.needs is None or bool(getattr(measurement, self.needs))

    def run(self, measurement: Measurement, limits: Limits | None = None) -> Iterator[Hit | Skipped]:
        """Hits in the rule's own order; `limits` replaces single defaults."""
        yield from self.check(measurement, {**self.limits, **(limits or {})})

    def finding(self, hit: Hit) -> Finding:
        return Finding(
            rule=self.name,
            severity=hit.severity or self.severity,
            layer=hit.layer,
            parameter=hit.parameter,
            source=hit.source,
            message=hit.message,
            evidence=hit.evidence,
            remedy=hit.remedy,
        )


def rule(
    name: str,
    *,
    severity: Severity,
    symptom_of: tuple[str, ...] = (),
    measure: str | None = None,
    needs: str | None = None,
    **limits: float,
) -> Callable[[Check], Rule]:
    """Make the decorated function a `Rule`; the family is the package that the file stands in."""

    def decorate(check: Check) -> Rule:
        page = (check.__globals__["__doc__"] or "").strip()
        family = check.__module__.split(".")[-2].replace("_", "-")
        summary = page.partition("\n")[0]
        return Rule(name, family, summary, page, severity, dict(limits), symptom_of, check, measure, needs)

    return decorate

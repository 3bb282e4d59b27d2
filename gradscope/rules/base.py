"""What a rule is: a function from a measurement to hits, and the page that explains it.

A rule file holds one decorated function. Its module docstring is its documentation page, and the rule is
described nowhere else.
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
    """One result of a rule: a finding without the rule's name, and the layers it explains."""

    message: str
    remedy: str
    evidence: Mapping[str, Number]
    layer: str | None = None
    parameter: str | None = None
    source: Source | None = None
    severity: Severity | None = None
    """`None`: the severity of the rule."""
    layers: tuple[str, ...] = ()
    """The affected layers; empty: `layer` alone."""
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
    """The highest severity that the rule reports."""
    limits: Limits
    symptom_of: tuple[str, ...]
    """Rules whose hits account for hits of this one."""
    check: Check
    measure: str | None = None
    """The key of the evidence that holds the degree of a finding, as a ratio to a level profile: `total`. The
    further its logarithm is from 0, the worse; `None` where a finding has no degree."""
    needs: str | None = None
    """The part of the measurement without which the rule cannot judge: `gradients`, `reference`."""
    single_seed_suffices: bool = False
    """A finding in one of several seeds is a finding of the run: a NaN is not a matter of degree."""

    def can_judge(self, measurement: Measurement) -> bool:
        return self.needs is None or bool(getattr(measurement, self.needs))

    def run(self, measurement: Measurement, limits: Limits | None = None) -> Iterator[Hit | Skipped]:
        """The rule's hits in its own order; `limits` overrides single defaults."""
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
    single_seed_suffices: bool = False,
    **limits: float,
) -> Callable[[Check], Rule]:
    """Make the decorated function a `Rule`; its family is the package of its file."""

    def decorate(check: Check) -> Rule:
        page = (check.__globals__["__doc__"] or "").strip()
        family = check.__module__.split(".")[-2].replace("_", "-")
        summary = page.partition("\n")[0]
        return Rule(
            name=name,
            family=family,
            summary=summary,
            page=page,
            severity=severity,
            limits=dict(limits),
            symptom_of=symptom_of,
            check=check,
            measure=measure,
            needs=needs,
            single_seed_suffices=single_seed_suffices,
        )

    return decorate

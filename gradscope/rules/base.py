"""What a rule is: a function from what was measured to hits, and the page that explains it.

A rule file holds one decorated function. Its module docstring is its documentation page; nothing about
the rule is written anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from gradscope.records import (
    Comparison,
    Finding,
    Measurement,
    Number,
    Reference,
    Severity,
    Skipped,
    Source,
    Verification,
)

Limits = Mapping[str, float]
FLOW = ("flow",)
VERIFIED = "correctness"
"""The family of rules that judge what `verify` measured."""
CHANGE = "change"
"""The family of rules that judge a run against its baseline."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to judge of one run; `None` where it was not measured."""

    flow: Measurement | None = None
    gradients: Verification | None = None
    optimizers: Comparison | None = None
    reference: Reference | None = None
    """How the target was when its baseline was written."""
    saved: Comparison | None = None
    """The same comparison of optimizers in an earlier run."""


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


Check = Callable[..., Iterable[Hit | Skipped]]
"""Takes the parts that the rule needs, and its limits."""


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
    needs: tuple[str, ...] = FLOW
    """The fields of `Parts` that it is given; without one of them it judges nothing."""

    @property
    def yes_or_no(self) -> bool:
        """Whether it has no limit that a finding could be near to: a NaN is no matter of more or less."""
        return not self.limits

    def can_judge(self, parts: Parts) -> bool:
        return all(getattr(parts, name) is not None for name in self.needs)

    def run(self, parts: Parts, limits: Limits | None = None) -> Iterator[Hit | Skipped]:
        """Hits in the rule's own order, none where it cannot judge; `limits` replaces single defaults."""
        if self.can_judge(parts):
            needed = [getattr(parts, name) for name in self.needs]
            yield from self.check(*needed, {**self.limits, **(limits or {})})

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
    needs: tuple[str, ...] = FLOW,
    **limits: float,
) -> Callable[[Check], Rule]:
    """Make the decorated function a `Rule`; the family is the package that the file stands in."""

    def decorate(check: Check) -> Rule:
        page = (check.__globals__["__doc__"] or "").strip()
        family = check.__module__.split(".")[-2].replace("_", "-")
        summary = page.partition("\n")[0]
        return Rule(name, family, summary, page, severity, dict(limits), symptom_of, check, measure, needs)

    return decorate

"""What a rule is: a function from what was measured to hits, and the page that explains it.

A rule file holds one decorated function. Its module docstring is its documentation page, and the rule is
described nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # What lists the rules starts without the records.
    from gradscope.records import (
        Comparison,
        Cost,
        Curvature,
        Finding,
        History,
        Measurement,
        Memory,
        Number,
        Parametrization,
        Reference,
        Severity,
        ShortTraining,
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
    training: ShortTraining | None = None
    memory: Memory | None = None
    """What a training step holds."""
    cost: Cost | None = None
    """What a training step computes."""
    curvature: Curvature | None = None
    """The shape of the loss around the parameters."""
    history: History | None = None
    """A whole training, step by step."""
    reference: Reference | None = None
    """How the target was when its baseline was written."""
    parametrization: Parametrization | None = None
    """What a few steps do at several widths."""
    saved: Comparison | None = None
    """The same comparison of optimizers in an earlier run."""


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
    proved: bool = False
    """Read from the program, or tried beside what usually causes it: no finding of another rule speaks for
    it."""


Check: TypeAlias = "Callable[..., Iterable[Hit | Skipped]]"
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
    """The highest severity that the rule reports."""
    limits: Limits
    symptom_of: tuple[str, ...]
    """Rules whose hits account for hits of this one."""
    check: Check
    measure: str | None = None
    """The key of the evidence that holds the degree of a finding, as a ratio to a level profile: `total`. The
    further its logarithm is from 0, the worse; `None` where a finding has no degree."""
    needs: tuple[str, ...] = FLOW
    """The fields of `Parts` that it is given; without one of them it cannot judge."""
    uses: tuple[str, ...] = ()
    """Further fields, which it is given after those, as `None` where they were not measured. Where it needs
    none, one of these has to be there."""
    fallback: bool = False
    """An error of another rule speaks for its findings: what was tried says little of a program that has
    another fault."""
    single_seed_suffices: bool = False
    """A finding in one of several seeds is a finding of the run: a NaN is not a matter of degree."""

    def can_judge(self, parts: Parts) -> bool:
        has = [getattr(parts, name) is not None for name in self.needs or self.uses]
        return all(has) if self.needs else any(has)

    def run(self, parts: Parts, limits: Limits | None = None) -> Iterator[Hit | Skipped]:
        """The rule's hits in its own order, none where it cannot judge; `limits` replaces defaults."""
        if self.can_judge(parts):
            needed = [getattr(parts, name) for name in (*self.needs, *self.uses)]
            yield from self.check(*needed, {**self.limits, **(limits or {})})

    def finding(self, hit: Hit) -> Finding:
        from gradscope.records import Finding

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
    uses: tuple[str, ...] = (),
    fallback: bool = False,
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
            uses=uses,
            fallback=fallback,
            single_seed_suffices=single_seed_suffices,
        )

    return decorate

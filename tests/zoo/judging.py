"""What was said of a program of the zoo, and whether it is right.

A sick program is *detected* if an error or a warning states its cause or a true consequence of it; its cause
is *first* if the first finding of the report states it, and *placed* if that finding names the layer and the
line that are to blame. Any error or warning on a healthy program is a false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradscope.rules import all_rules
from tests.zoo.programs import Program

SERIOUS = ("error", "warning")
RULES = {rule.name for rule in all_rules()}


@dataclass(frozen=True)
class Judged:
    """A program of the zoo, and what was said of it."""

    program: Program
    findings: tuple[dict[str, Any], ...]
    """Errors and warnings, in the order of the report."""
    notes: tuple[dict[str, Any], ...]
    failed: str
    """What gradscope said where it made no report; else empty."""

    @property
    def has_rule(self) -> bool:
        """Whether there is a rule that states this cause: some name one that is to be written."""
        return not RULES.isdisjoint(self.program.cause)

    @property
    def detected(self) -> bool:
        stated = {*self.program.cause, *self.program.symptom}
        return any(finding["rule"] in stated for finding in self.findings)

    @property
    def named(self) -> bool:
        """Somewhere in the report."""
        return any(finding["rule"] in self.program.cause for finding in self.findings)

    @property
    def first(self) -> bool:
        return bool(self.findings) and self.findings[0]["rule"] in self.program.cause

    @property
    def placed(self) -> bool:
        return self.first and at_the_place(self.program, self.findings[0])

    @property
    def strange(self) -> list[dict[str, Any]]:
        """Findings that state neither the cause nor what follows from it."""
        stated = {*self.program.cause, *self.program.symptom}
        return [finding for finding in self.findings if finding["rule"] not in stated]

    def of(self, severity: str) -> list[dict[str, Any]]:
        return [finding for finding in self.findings if finding["severity"] == severity]


def at_the_place(program: Program, finding: dict[str, Any]) -> bool:
    place = f"{finding['layer']} {finding['parameter']}"
    line = (finding["source"] or {}).get("text") or ""
    return program.line in line and (not program.layer or any(part in place for part in program.layer))


def judge(program: Program, said: dict[str, Any]) -> Judged:
    """Of one target of a run of several."""
    findings = said["report"]["findings"] if said["report"] else []
    error = said["error"] or {}
    failed = "" if said["report"] else str(error.get("message", error))
    serious = tuple(finding for finding in findings if finding["severity"] in SERIOUS)
    return Judged(program, serious, tuple(f for f in findings if f not in serious), failed)

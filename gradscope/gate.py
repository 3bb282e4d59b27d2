"""From a report and a policy to an exit code: pure, and all that a CI job depends on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import Finding, Report, Severity

NEVER = "never"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a run fails on: severities (each with all graver ones) and names of rules; empty for never."""

    fail_on: tuple[str, ...] = (Severity.ERROR.value,)

    def fails(self, finding: Finding) -> bool:
        return any(
            finding.severity.rank <= Severity(entry).rank if entry in _SEVERITIES else finding.rule == entry
            for entry in self.fail_on
        )


_SEVERITIES = frozenset(severity.value for severity in Severity)


def parse(text: str, rules: Iterable[str]) -> Policy:
    """The policy that `--fail-on` names: `error`, `warning,dead-units`, or `never` by itself."""
    entries = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if entries == (NEVER,):
        return Policy(())
    # Rules are found by importing all of them: not asked for where severities alone are given.
    if not set(entries) <= {*_SEVERITIES, NEVER}:
        known = [*_SEVERITIES, NEVER, *rules]
        for entry in entries:
            if entry not in known:
                raise _unknown(entry, known)
    if not entries or NEVER in entries:
        raise GradscopeError(
            f'"--fail-on {text}" does not say what to fail on.',
            why=f'"{NEVER}" stands alone.' if entries else "It is empty.",
            fix='Give severities and rules as in "error,non-finite", or "never".',
            slug="unknown-policy",
        )
    return Policy(entries)


def exit_code(report: Report, policy: Policy) -> int:
    failed = any(policy.fails(finding) for finding in report.findings)
    return ExitCode.FINDINGS if failed else ExitCode.CLEAN


def _unknown(entry: str, known: list[str]) -> GradscopeError:
    near = difflib.get_close_matches(entry, sorted(known), n=1, cutoff=0.5)
    return GradscopeError(
        f'"{entry}" is neither a severity nor a rule.',
        why="--fail-on takes error, warning, note, never and names of rules.",
        fix=f'Did you mean "{near[0]}"?' if near else "`gradscope rules` lists the rules.",
        slug="unknown-policy",
    )

"""From a report and a policy to an exit code: pure, and all that a CI job depends on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import FailureKind, Policy as Policy, Suite
from gradscope.records.policy import SEVERITIES
from gradscope.rules import all_rules

NEVER = "never"


def parse(text: str, more_rules: Iterable[str] = ()) -> Policy:
    """The policy that `--fail-on` names: `error`, `error,unstable-expression`, or `never` by itself.

    `more_rules` are known, too: a saved run may hold findings of rules that this gradscope does not have.
    """
    entries = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if entries == (NEVER,):
        return Policy(())
    # Rules are found by importing all of them: not asked for where severities alone are given.
    if not set(entries) <= {*SEVERITIES, NEVER}:
        known = [*SEVERITIES, NEVER, *(rule.name for rule in all_rules()), *more_rules]
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


def exit_code(suite: Suite) -> ExitCode:
    """One code for all targets. A sick model is the surest thing that can be said: it comes first."""
    if any(outcome.failures for outcome in suite.outcomes):
        return ExitCode.FINDINGS
    kinds = {outcome.error.kind for outcome in suite.outcomes if outcome.error is not None}
    if FailureKind.BUG in kinds:
        return ExitCode.INTERNAL
    return ExitCode.NOT_JUDGED if kinds else ExitCode.CLEAN


def _unknown(entry: str, known: list[str]) -> GradscopeError:
    near = difflib.get_close_matches(entry, sorted(known), n=1, cutoff=0.5)
    return GradscopeError(
        f'"{entry}" is neither a severity nor a rule.',
        why="--fail-on takes error, warning, note, never and names of rules.",
        fix=f'Did you mean "{near[0]}"?' if near else "`gradscope rules` lists the rules.",
        slug="unknown-policy",
    )

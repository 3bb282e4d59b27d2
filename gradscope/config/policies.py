"""A gate on a rule that does not run is open for ever: told before anything runs."""

from __future__ import annotations

from gradscope.errors import GradscopeError
from gradscope.records import Severity
from gradscope.records.options import Task
from gradscope.rules import all_rules

WANTING = {
    "gradients": ("needs verified gradients, which are not asked for", "Add --verify, or `verify = true`."),
    "reference": ("compares with a baseline, and none is named", "Add --baseline FILE."),
    "optimizers": (
        "compares optimizers with a saved run, which this command does not",
        "Give it to `gradscope compare-optimizers --against RUN.json`.",
    ),
}
"""By what a rule needs."""


def require_gate(task: Task) -> None:
    """Raise where `--fail-on` names a rule that will not judge this target."""
    named = set(task.fail_on) - set(Severity)
    for rule in all_rules() if named else ():
        if rule.name in named and (reason := _silent(rule.name, rule.needs, task)):
            why, fix = reason
            raise GradscopeError(
                f'"--fail-on {rule.name}" could never fail for {task.target}.',
                why=f"{rule.name} {why}.",
                fix=fix,
                slug="gate-never-fails",
            )


def _silent(name: str, needs: tuple[str, ...], task: Task) -> tuple[str, str] | None:
    checking = task.checking
    if name in checking.ignore:
        return "is ignored", "Take it out of --ignore, or out of --fail-on."
    if checking.select and name not in checking.select:
        return "is not among the rules that are selected", "Add it to --select."
    measured = {
        "flow": True,
        "gradients": checking.verified,
        "reference": checking.baseline is not None,
    }
    missing = next((part for part in needs if not measured.get(part)), None)
    return None if missing is None else WANTING[missing]

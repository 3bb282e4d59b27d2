"""Refuses, before anything runs, a `--fail-on` that names a rule that does not judge."""

from __future__ import annotations

from gradscope.errors import GradscopeError
from gradscope.records import Severity
from gradscope.records.options import Task
from gradscope.rules import all_rules

MISSING = {
    "gradients": ("needs verified gradients", "Add --verify, or `verify = true`."),
    "reference": ("needs a baseline", "Add --baseline FILE, or `baseline = ...`."),
    "parametrization": ("needs several widths", "Add --widths 64,128,256, or `widths = [64, 128, 256]`."),
    "training": ("needs the short training", "Remove `--steps 0`."),
    "history": ("judges a training of many steps", "Give it to `gradscope monitor`."),
    "memory": ("judges what a step holds", "Give it to `gradscope memory --fail-on memory:8GiB`."),
    "cost": ("judges what a step computes", "Give it to `gradscope cost --fail-on cost:2TFLOP`."),
    "curvature": ("judges the shape of the loss", "Give it to `gradscope curvature`."),
    "optimizers": (
        "compares optimizers with a saved run, which this command does not",
        "Give it to `gradscope compare-optimizers --against RUN.json`.",
    ),
}
"""Why a rule cannot judge, and what to do, by `Rule.needs`."""


def require_gate(task: Task) -> None:
    """Raise `GradscopeError` if `--fail-on` names a rule that will not judge this target."""
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
        return "is ignored", "Remove it from --ignore, or from --fail-on."
    if checking.select and name not in checking.select:
        return "is not selected", "Add it to --select."
    measured = {
        "flow": True,
        "gradients": checking.verified,
        "training": checking.steps != 0,
        "parametrization": bool(checking.widths),
        "reference": checking.baseline is not None,
    }
    missing = next((part for part in needs if not measured.get(part)), None)
    return None if missing is None else MISSING[missing]

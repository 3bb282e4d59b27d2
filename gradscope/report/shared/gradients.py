"""What `verify` found, as every format for people words it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from gradscope.records import GradientCheck, Verdict
from gradscope.report.shared import units

STYLES = {Verdict.RIGHT: "healthy", Verdict.WRONG: "error", Verdict.CANNOT_JUDGE: "note"}

Column = tuple[str, Callable[[GradientCheck], str]]
"""Of the table of leaves: a title and its cell."""


def tally(checks: Sequence[GradientCheck]) -> str:
    """`12 leaves: 10 right, 1 wrong, 1 cannot be judged`."""
    counts = Counter(check.verdict for check in checks)
    words = {Verdict.RIGHT: "right", Verdict.WRONG: "wrong", Verdict.CANNOT_JUDGE: "cannot be judged"}
    parts = [f"{units.count(counts[verdict])} {word}" for verdict, word in words.items() if counts[verdict]]
    noun = "parameter leaf" if len(checks) == 1 else "parameter leaves"
    return f"{units.count(len(checks))} {noun}: {', '.join(parts) or 'nothing to verify'}"


COLUMNS: tuple[Column, ...] = (
    ("backprop", lambda check: units.cell(check.analytic)),
    ("differences", lambda check: units.cell(check.numeric)),
    ("rel. error", lambda check: units.cell(check.relative_error)),
    ("±", lambda check: units.cell(_sharpness(check))),
)


def _sharpness(check: GradientCheck) -> float | None:
    """What the relative error is uncertain by."""
    larger = max(abs(check.analytic), abs(check.numeric))
    return check.uncertainty / larger if larger else None

"""What led up to the origin of a NaN, as every format for people words it."""

from __future__ import annotations

from gradscope.language import translate
from gradscope.records import Operation, Origin
from gradscope.report.shared import units


def values(step: Operation) -> str:
    """What it gave: `0.2 to 3.1, 4 elements not finite`."""
    bad = translate(f"{units.counted(step.nonfinite, 'element')} not finite") if step.nonfinite else ""
    if step.low != step.low:
        return bad
    low, high = units.number(step.low), units.number(step.high)
    span = low if low == high else translate(f"{low} to {high}")
    return f"{span}, {bad}" if bad else span


def not_finite(origin: Origin) -> str:
    """`4 of 640 elements not finite`."""
    return f"{units.count(origin.elements)} of {units.counted(origin.size, 'element')} not finite"

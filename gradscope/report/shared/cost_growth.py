"""How the cost of a step grows, in words."""

from __future__ import annotations

from gradscope.records import Cost, CostGrowth
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import visible

NAMES = {"batch": "batch", "length": "length of the sequences", "width": "width", "depth": "depth"}
UNITS = {"batch": "row", "length": "place", "width": "unit", "depth": "layer"}
CLEAR = 0.005
"""Of the operations: a quadratic part that is told."""


def axis_name(growth: CostGrowth) -> str:
    return NAMES.get(growth.axis, visible(growth.axis))


def growth_sentences(found: Cost) -> list[str]:
    return [" ".join(_said(growth)) for growth in found.growth if len(growth.points) > 1]


def _said(growth: CostGrowth) -> list[str]:
    sizes = [point.size for point in growth.points]
    of = "" if growth.of in ("rows", "") else f" ({visible(growth.of)})"
    text = (
        f"With the {axis_name(growth)}{of} operations grow as {growth.axis}^{_exponent(growth.exponent)} "
        f"({_span(sizes)}, counted)"
    )
    timed = [point.size for point in growth.measured]
    if growth.time_exponent is not None:
        text += f", time as {growth.axis}^{_exponent(growth.time_exponent)} ({_span(timed)}, measured)"
    said = [f"{text}."]
    said += _linear(growth) if len(growth.polynomial) == 2 else []
    said += _quadratic(growth) if len(growth.polynomial) == 3 else []
    return said


def _span(sizes: list[int]) -> str:
    return f"{units.count(min(sizes))} to {units.count(max(sizes))}"


def _exponent(value: float | None) -> str:
    return units.NOT_MEASURED if value is None else f"{value:.2f}"


def _linear(growth: CostGrowth) -> list[str]:
    fixed, each = growth.polynomial
    unit = UNITS.get(growth.axis, "unit")
    beside = f"{units.operations(fixed)} and " if fixed >= 0.01 * each * growth.at else ""
    return [f"That is {beside}{units.operations(each)} for each {unit}, exactly."]


def _quadratic(growth: CostGrowth) -> list[str]:
    share = growth.quadratic_share
    if share is None or abs(share) < CLEAR:
        return []
    largest = max(point.size for point in growth.points)
    smallest = min(point.size for point in growth.points)
    text = (
        f"What grows with the square of the {axis_name(growth)} is {units.share(share)} of the "
        f"operations at {units.count(growth.at)}"
    )
    if growth.half_at is None:
        span = f"{units.count(smallest)} to {units.count(largest)}"
        return [f"{text}, and less than half of them everywhere from {span}."]
    if growth.half_at <= smallest:
        return [f"{text}, and at least half of them everywhere from {units.count(smallest)} on."]
    there = "" if growth.half_at <= largest else " (counted there, too)"
    return [f"{text}, and half of them from {units.count(growth.half_at)} on{there}."]

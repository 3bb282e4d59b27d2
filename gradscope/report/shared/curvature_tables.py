"""The curvature of the loss in tables: of layers, of a line through it, of the density."""

from __future__ import annotations

from gradscope.records import Curvature, DensityBin, Eigenvalue
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable


def layer_table(found: Curvature) -> SmallTable | None:
    rows = [row for row in found.layers if row.largest is not None]
    if not rows:
        return None
    most = found.largest.value if found.largest is not None else 0.0
    values = [row.largest for row in rows if row.largest is not None]
    return SmallTable(
        title="Sharpness by layer",
        head="layer",
        names=[row.name for row in rows],
        columns=[
            Column(("largest", "eigenvalue"), 0, [_at_least(value) for value in values]),
            Column(("", "±"), 2, [f"{value.error:.2g}" for value in values]),
            Column(
                ("of the", "whole"),
                1,
                ["" if most <= 0 or value.value < 0 else units.share(value.value / most) for value in values],
            ),
            Column(("", "parameters"), 3, [units.count(row.size) for row in rows]),
            Column(
                ("", "line"), 5, ["" if row.source is None else str(row.source) for row in rows], right=False
            ),
        ],
        urgency=[-value.value for value in values],
        meaning="The largest eigenvalue of the diagonal block of each layer, all others held.",
        heading="sharpness by layer: how much its own parameters bend the loss",
    )


def _at_least(value: Eigenvalue) -> str:
    return units.cell(value.value) if value.converged else f"≥ {units.cell(value.value)}"


def line_table(found: Curvature) -> SmallTable | None:
    """The loss along negative curvature."""
    negative = found.negative
    if negative is None or not negative.points:
        return None
    points = negative.points
    return SmallTable(
        title="Along negative curvature",
        head="distance",
        names=[units.number(point.distance) for point in points],
        columns=[
            Column(("measured", "change"), 0, [_change(point.measured) for point in points]),
            Column(("quadratic", "model"), 1, [_change(point.predicted) for point in points]),
        ],
        urgency=range(len(points)),
        meaning="The change of the loss along the direction of the smallest eigenvalue, on both sides.",
        heading="the loss along the direction of the smallest eigenvalue",
    )


def _change(value: float) -> str:
    return f"{'+' if value > 0 else ''}{units.cell(value)}"


def density_table(found: Curvature) -> SmallTable | None:
    bins = [each for each in found.density if each.share > 0]
    if len(found.density) < 2:
        return None
    return SmallTable(
        title="Density of eigenvalues",
        head="eigenvalues",
        names=[span_of(each) for each in bins],
        columns=[
            Column(("", "share"), 0, [f"{each.share:.2g}" for each in bins]),
            Column(("", "number"), 1, [units.count(round(each.share * found.parameters)) for each in bins]),
        ],
        urgency=range(len(bins)),
        meaning="How many of all eigenvalues lie where, as seen by the probes.",
        heading="density of eigenvalues",
    )


def span_of(each: DensityBin) -> str:
    return f"{units.number(each.low)} to {units.number(each.high)}"


def tables(found: Curvature) -> list[SmallTable]:
    return [each for each in (layer_table(found), line_table(found)) if each is not None]

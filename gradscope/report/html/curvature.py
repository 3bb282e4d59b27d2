"""The curvature of the loss on the page: the density as a drawing, the sharpness of each layer."""

from __future__ import annotations

from gradscope.records import Curvature
from gradscope.report.html.markup import NOTHING, Frame, Html, details, joined, prose, tag
from gradscope.report.html.plots import Curve, Plot, drawn
from gradscope.report.html.scales import Linear, logarithmic
from gradscope.report.html.small_tables import explained, small_table
from gradscope.report.shared import units
from gradscope.report.shared.curvature import summary
from gradscope.report.shared.curvature_tables import density_table, span_of, tables


def curvature(found: Curvature | None, frame: Frame) -> Html:
    if found is None:
        return NOTHING
    return joined(
        [
            frame.section(
                "curvature", "Curvature of the loss", *(tag("p", prose(each)) for each in summary(found))
            ),
            _density(found, frame),
            *(explained(each, frame) for each in tables(found)),
        ]
    )


def _density(found: Curvature, frame: Frame) -> Html:
    """On a log scale: of most networks nearly all eigenvalues are near zero, and what matters is far."""
    bins, numbers = found.density, density_table(found)
    height = logarithmic((each.share for each in bins), least=1)
    if numbers is None or height is None:
        return NOTHING
    along = Linear(bins[0].low, bins[-1].high)
    edges = [(along.place(each.low) or 0.0, along.place(each.high) or 0.0) for each in bins]
    heights = [height.place(each.share) for each in bins]
    strips = [
        [(left, 0.0, top), (right, 0.0, top)]
        for (left, right), top in zip(edges, heights, strict=True)
        if top is not None
    ]
    lines = [
        Curve([(left, 0.0), (left, top), (right, top), (right, 0.0)])
        for (left, right), top in zip(edges, heights, strict=True)
        if top is not None
    ]
    ends = (
        (bins[0].low, 0.0, bins[-1].high) if bins[0].low < 0 < bins[-1].high else (bins[0].low, bins[-1].high)
    )
    plot = Plot(
        lines,
        "share of the eigenvalues over the axis of eigenvalues",
        x=[(along.place(value) or 0.0, units.number(value)) for value in ends],
        y=height.ticks(),
        under="eigenvalue; upwards the share of all, in powers of ten",
        strips=strips,
        hover=[
            (left, right, f"{span_of(each)}: a share of {each.share:.2g}")
            for each, (left, right) in zip(bins, edges, strict=True)
        ],
    )
    return frame.section(
        "density",
        "Density of eigenvalues",
        tag("figure", drawn(plot), class_="wide"),
        details("The same numbers as a table", small_table(numbers)),
    )

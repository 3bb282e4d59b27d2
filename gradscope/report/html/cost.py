"""The cost of a training step on the page: a bar for each layer, the tables, a drawing of each growth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import Cost, CostGrowth
from gradscope.report.html.layer_bars import MOST_BARS, BarPiece, LayerBar, layer_bars
from gradscope.report.html.markup import NOTHING, Frame, Html, joined, prose, tag
from gradscope.report.html.plots import Curve, Plot, drawn
from gradscope.report.html.scales import logarithmic
from gradscope.report.html.shades import SHADES
from gradscope.report.html.small_tables import explained, small_table
from gradscope.report.shared import units
from gradscope.report.shared.communication import between_devices, communication_tables
from gradscope.report.shared.cost import CostRow, alike, every_row, summary, trusted
from gradscope.report.shared.cost_growth import axis_name, growth_sentences
from gradscope.report.shared.cost_tables import growth_table, tables


def cost(found: Cost | None, frame: Frame) -> Html:
    if found is None:
        return NOTHING
    return joined(
        [
            frame.section(
                "cost",
                "Cost of a training step",
                *(tag("p", prose(sentence)) for sentence in [*summary(found), *between_devices(found)]),
                _picture(found),
            ),
            *(explained(each, frame) for each in [*tables(found), *communication_tables(found)]),
            *_growth(found, frame),
        ]
    )


def _picture(found: Cost) -> Html:
    """A row for each layer, on one scale: forward, then backward. Of many, those named alike are one."""
    rows = every_row(found)
    rows = alike(found) if len(rows) > MOST_BARS else rows
    shown = rows[:MOST_BARS]
    timed = trusted(found)
    largest = max((_amounts(row, timed)[2] for row in shown), default=0.0)
    if not largest:
        return NOTHING
    what = "Seconds" if timed else "Operations"
    text = f"{what} of each layer in forward order, all on one scale: forward dark, backward lighter."
    if len(shown) < len(rows):
        text += f" {units.count(len(rows) - len(shown))} more are in the table."
    return layer_bars([_bar(row, timed, largest) for row in shown], text)


def _amounts(row: CostRow, timed: bool) -> tuple[float, float, float]:
    """Forward, backward, and both."""
    halves = row.forward, row.backward
    forward, backward = ((half.seconds or 0.0) if timed else half.operations for half in halves)
    return forward, backward, forward + backward


def _bar(row: CostRow, timed: bool, largest: float) -> LayerBar:
    forward, backward, both = _amounts(row, timed)
    said = units.brief if timed else units.operations
    pieces = [
        BarPiece(f"{row.name}, {name}: {said(amount)}", amount / largest, shade)
        for name, amount, shade in (("forward", forward, SHADES), ("backward", backward, SHADES // 2))
    ]
    return LayerBar(row.name, f"{row.name} takes {said(both)}", pieces)


def _growth(found: Cost, frame: Frame) -> Iterator[Html]:
    grown = [growth for growth in found.growth if len(growth.points) > 1]
    for growth, sentence in zip(grown, growth_sentences(found), strict=True):
        table = growth_table(growth)
        yield frame.section(
            f"growth-{growth.axis}",
            table.title,
            tag("p", prose(sentence)),
            _figure(growth),
            small_table(table),
        )


def _figure(growth: CostGrowth) -> Html:
    """Operations and time as multiples of those at the size at hand, both axes logarithmic."""
    here = next((point for point in growth.points if point.size == growth.at), growth.points[0])
    sizes = [point.size / (here.size or 1) for point in growth.points]
    operations = [point.operations / (here.operations or 1.0) for point in growth.points]
    seconds = [
        None if point.seconds is None or not here.seconds else point.seconds / here.seconds
        for point in growth.points
    ]
    x, y = logarithmic(sizes, least=1), logarithmic([*operations, *seconds], least=1)
    if x is None or y is None:
        return NOTHING

    def line(values: Sequence[float | None], kind: str) -> Curve:
        places = zip(sizes, values, strict=True)
        known = [(x.place(size), y.place(value)) for size, value in places if value is not None]
        return Curve(known, kind, dots=True)

    timed = any(value is not None for value in seconds)
    plot = Plot(
        [*([line(seconds, "activation")] if timed else []), line(operations, "delta")],
        f"cost over the {axis_name(growth)}, as multiples of that at {units.count(here.size)}",
        x=[(x.place(size) or 0.0, units.count(p.size)) for size, p in zip(sizes, growth.points, strict=True)],
        y=y.ticks(),
        under=f"{axis_name(growth)}; upwards multiples of the cost at {units.count(here.size)}",
        hover=[
            ((x.place(size) or 0.0) - 2, (x.place(size) or 0.0) + 2, _about(growth, number))
            for number, size in enumerate(sizes)
        ],
    )
    legend = "Operations blue" + (", time grey." if timed else ".")
    return tag("figure", drawn(plot), tag("figcaption", legend), class_="wide")


def _about(growth: CostGrowth, number: int) -> str:
    point = growth.points[number]
    time = f", {units.brief(point.seconds)}" if point.seconds is not None else ""
    return f"{units.count(point.size)}: {units.operations(point.operations)}{time}"

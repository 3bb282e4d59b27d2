"""The cost of a training step on the page: a bar for each layer, the tables, a drawing of each growth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import Cost, CostGrowth
from gradscope.report.html.markup import NOTHING, Frame, Html, joined, prose, tag
from gradscope.report.html.plots import Curve, Plot, drawn
from gradscope.report.html.profile import room
from gradscope.report.html.scales import logarithmic, short
from gradscope.report.html.shades import SHADES
from gradscope.report.html.small_tables import small_table
from gradscope.report.shared import units
from gradscope.report.shared.communication import between_devices, communication_tables
from gradscope.report.shared.cost import CostRow, alike, every_row, summary, trusted
from gradscope.report.shared.cost_growth import axis_name, growth_sentences
from gradscope.report.shared.cost_tables import growth_table, tables
from gradscope.report.shared.table import SmallTable

MOST_BARS = 60
WIDTH = 100.0


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
            *(_table(each, frame) for each in [*tables(found), *communication_tables(found)]),
            *_growth(found, frame),
        ]
    )


def _table(found: SmallTable, frame: Frame) -> Html:
    name = found.title.lower().replace(" ", "-")
    return frame.section(name, found.title, tag("p", prose(found.meaning)), small_table(found))


def _picture(found: Cost) -> Html:
    """A row for each layer, on one scale: forward, then backward. Of many, those named alike are one."""
    rows = every_row(found)
    rows = alike(found) if len(rows) > MOST_BARS else rows
    shown = rows[:MOST_BARS]
    timed = trusted(found)
    largest = max((_amounts(row, timed)[2] for row in shown), default=0.0)
    if not largest:
        return NOTHING
    bars = (
        tag("li", tag("span", tag("bdi", row.name, dir="ltr"), class_="name"), _bar(row, timed, largest))
        for row in shown
    )
    what = "Seconds" if timed else "Operations"
    text = f"{what} of each layer in forward order, all on one scale: forward dark, backward lighter."
    if len(shown) < len(rows):
        text += f" {units.count(len(rows) - len(shown))} more are in the table."
    names = [row.name for row in shown]
    return tag("figure", tag("ol", *bars), tag("figcaption", text), class_="heat memory", style=room(names))


def _amounts(row: CostRow, timed: bool) -> tuple[float, float, float]:
    """Forward, backward, and both."""
    halves = row.forward, row.backward
    forward, backward = ((half.seconds or 0.0) if timed else half.operations for half in halves)
    return forward, backward, forward + backward


def _bar(row: CostRow, timed: bool, largest: float) -> Html:
    forward, backward, both = _amounts(row, timed)
    said = units.brief if timed else units.operations
    pieces, left = [], 0.0
    for name, amount, shade in (("forward", forward, SHADES), ("backward", backward, SHADES // 2)):
        width = WIDTH * amount / largest
        about = tag("title", f"{row.name}, {name}: {said(amount)}")
        pieces.append(
            tag("rect", about, x=short(left), width=short(width), height=1, class_=f"s{max(1, shade)}")
        )
        left += width
    label = f"{row.name} takes {said(both)}"
    return tag(
        "svg",
        tag("title", label),
        *pieces,
        viewBox=f"0 0 {short(WIDTH)} 1",
        preserveAspectRatio="none",
        role="img",
    )


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

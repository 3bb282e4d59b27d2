"""A small chart of lines: the drawing stretches with the page, its strokes and its labels do not.

Plain SVG by hand. Measured on a page of 24 layers and 48 curves: this way 95 kB without a script; Plotly 1.2
to 4.8 MB, Altair 1.1 MB with an 84 MB dependency, matplotlib 156 kB and seven seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.report.html.markup import NOTHING, Html, tag, tick
from gradscope.report.html.scales import short

Point = tuple[float | None, float | None]
"""Places in percent, from the left and from below; without one the line has a gap."""
Labels = Sequence[tuple[float, str]]
Strip = Sequence[tuple[float, float, float]]
"""Places from the left, and those of its lower and its upper edge."""


@dataclass(frozen=True, slots=True)
class Curve:
    points: Sequence[Point]
    kind: str = "delta"
    """Class of the line."""
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    curves: Sequence[Curve]
    title: str
    """What a reader who does not see the drawing is told of it."""
    x: Labels = ()
    y: Labels = ()
    under: str = ""
    """What the horizontal axis shows."""
    strips: Sequence[Strip] = ()
    """Filled, behind the curves."""
    hover: Sequence[tuple[float, float, str]] = ()
    """From, to, and the numbers that are said between them."""
    marks: Sequence[float] = ()
    """Places of upright lines."""
    broken: Sequence[float] = ()
    """Places at which something is not finite."""


def drawn(plot: Plot) -> Html:
    grid = "".join(f"M0 {short(100 - place)}H100" for place, _ in plot.y)
    shapes = [tag("path", class_="grid", d=grid) if grid else NOTHING, *_shapes(plot)]
    drawing = tag(
        "svg",
        tag("title", plot.title),
        *shapes,
        *(
            tag("rect", tag("title", text), x=short(left), width=short(right - left), height=100)
            for left, right, text in plot.hover
        ),
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        role="img",
        aria_label=plot.title,
    )
    y = (tag("i", label, style=f"bottom:{short(place)}%") for place, label in plot.y)
    x = (tick(label, place, short(place)) for place, label in plot.x)
    return tag(
        "div",
        tag("div", *y, class_="y", aria_hidden="true"),
        drawing,
        tag("div", *x, class_="x", aria_hidden="true"),
        tag("div", plot.under, class_="under", aria_hidden="true") if plot.under else NOTHING,
        class_="plot",
    )


def _shapes(plot: Plot) -> Iterator[Html]:
    for strip in plot.strips:
        upper = "L".join(f"{short(x)} {short(100 - high)}" for x, _, high in strip)
        lower = "L".join(f"{short(x)} {short(100 - low)}" for x, low, _ in reversed(strip))
        yield tag("path", class_="strip", d=f"M{upper}L{lower}z")
    for mark in plot.marks:
        yield tag("path", class_="mark", d=f"M{short(mark)} 0V100")
    for curve in plot.curves:
        line, dots = path(curve.points)
        yield tag("path", class_=f"line {curve.kind}", d=line)
        if curve.dots:
            yield tag("path", class_=f"dots {curve.kind}", d=dots)
    if plot.broken:
        crosses = "".join(f"M{short(x - 1)} 1l2 7m0 -7l-2 7" for x in plot.broken)
        yield tag("path", class_="odd", d=crosses)


def path(points: Sequence[Point]) -> tuple[str, str]:
    """The line, broken where a place is missing, and a dot for each point of it."""
    line, dots, pen = "", "", "M"
    for x, y in points:
        if x is None or y is None:
            pen = "M"
            continue
        line += f"{pen}{short(x)} {short(100 - y)}"
        dots += f"M{short(x)} {short(100 - y)}h0"
        pen = "L"
    return line, dots


def thinned(length: int, most: int) -> list[int]:
    """At most so many places of a long series, both ends among them."""
    if length <= most:
        return list(range(length))
    return sorted({round(k * (length - 1) / (most - 1)) for k in range(most)})

"""δ over time: a heat map of all loops, and a line for each of those whose δ changes most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from gradscope.records import Recurrence
from gradscope.report.html.markup import NOTHING, Frame, Html, code, details, joined, table, tag
from gradscope.report.html.plots import Curve, Plot, drawn
from gradscope.report.html.profile import room
from gradscope.report.html.scales import Logarithmic, logarithmic
from gradscope.report.html.shades import BROKEN, NO_SHADE, ramp, shade
from gradscope.report.shared import units

MOST_CELLS = 120
"""Columns of the heat map; a longer loop has several steps in each."""
MOST_LINES = 6

Stretch = tuple[int, int, float]
"""First step, the step after the last, and the norm of δ that stands for them."""


def recurrences(found: Sequence[Recurrence], frame: Frame) -> Html:
    shown = [recurrence for recurrence in found if recurrence.delta_norms]
    scale = logarithmic(value for each in shown for value in each.delta_norms)
    lines = sorted(shown, key=change, reverse=True)[:MOST_LINES]
    return (
        frame.section(
            "time",
            "Through time",
            _heat_map(shown, scale) if shown else NOTHING,
            tag("div", *(_line(each) for each in shown if each in lines), class_="panels"),
            _rest(len(shown) - len(lines)),
            _twin(shown),
            *(
                tag("p", "δ of ", code(each.name), " was not measured.")
                for each in found
                if each not in shown
            ),
        )
        if found
        else NOTHING
    )


def change(recurrence: Recurrence) -> float:
    """How far δ moves over time, in powers of ten; infinite where it stops being finite or is zero."""
    values = recurrence.delta_norms
    if any(not math.isfinite(value) or value <= 0 for value in values):
        return math.inf
    return math.log10(max(values)) - math.log10(min(values))


def stretches(values: Sequence[float]) -> list[Stretch]:
    """The median of each; what is not finite wins, because it must be seen."""
    count = min(len(values), MOST_CELLS)
    found = []
    for cell in range(count):
        first, stop = cell * len(values) // count, (cell + 1) * len(values) // count
        part = values[first:stop]
        broken = [value for value in part if not math.isfinite(value)]
        found.append((first, stop, broken[0] if broken else sorted(part)[len(part) // 2]))
    return found


def _steps(first: int, stop: int) -> str:
    return f"step {first}" if stop == first + 1 else f"steps {first} to {stop - 1}"


def _heat_map(shown: Sequence[Recurrence], scale: Logarithmic | None) -> Html:
    rows = (
        tag("li", tag("span", recurrence.name, class_="name"), _strip(recurrence, scale))
        for recurrence in shown
    )
    ends = tag("span", tag("span", "first step"), tag("span", "last step"), class_="ends")
    foot = tag("li", tag("span"), ends, aria_hidden="true")
    style = room(each.name for each in shown)
    caption = "Norm of δ of the carried state. Each row runs from its first time step to its last"
    if any(len(each.delta_norms) > MOST_CELLS for each in shown):
        caption += "; where several steps share a cell it shows their median"
    scaled = joined(legend(scale)) if scale else NOTHING
    return tag(
        "figure", tag("ol", *rows, foot), tag("figcaption", caption, ". ", scaled), class_="heat", style=style
    )


def _strip(recurrence: Recurrence, scale: Logarithmic | None) -> Html:
    values = recurrence.delta_norms
    first, last = units.number(values[0]), units.number(values[-1])
    label = (
        f"δ of {recurrence.name} over {units.counted(len(values), 'time step')}: {first} first, {last} last"
    )
    return strip(values, scale, label, lambda start, stop: f"{recurrence.name}, {_steps(start, stop)}: δ")


def strip(
    values: Sequence[float],
    scale: Logarithmic | None,
    label: str,
    about: Callable[[int, int], str],
    length: int | None = None,
) -> Html:
    """A cell for each stretch of steps; `about` is what it says of those before its number.

    `length` is that of the axis, where it goes on behind the values.
    """
    cells = (
        tag(
            "rect",
            tag("title", f"{about(start, stop)} {units.number(value)}"),
            x=start,
            width=stop - start,
            height=1,
            class_=shade_of(value, scale),
        )
        for start, stop, value in stretches(values)
    )
    crosses = "".join(
        f"M{start} 0L{stop} 1M{stop} 0L{start} 1"
        for start, stop, value in stretches(values)
        if not math.isfinite(value)
    )
    return tag(
        "svg",
        tag("title", label),
        *cells,
        tag("path", class_="odd", d=crosses) if crosses else NOTHING,
        viewBox=f"0 0 {length or len(values)} 1",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def shade_of(value: float, scale: Logarithmic | None) -> str:
    if not math.isfinite(value):
        return BROKEN
    place = scale.place(value) if scale else None
    return NO_SHADE if place is None else shade(place / 100)


def legend(scale: Logarithmic) -> Iterator[str]:
    low, high = (units.number(10.0**end) for end in (scale.low, scale.high))
    yield ramp(low, high)
    yield " on a log scale; an empty cell is zero, a cross is not finite."


def _line(recurrence: Recurrence) -> Html:
    cells, values = stretches(recurrence.delta_norms), recurrence.delta_norms
    scale = logarithmic(values)
    where = [(first + stop - 1) / 2 for first, stop, _ in cells]
    span = max(1, len(values) - 1)
    across = [100 * place / span for place in where]
    heights = [scale.place(value) if scale else None for _, _, value in cells]
    title = (
        f"δ of {recurrence.name} over {units.counted(len(values), 'time step')} on a log scale: "
        f"{units.number(values[0])} first, {units.number(values[-1])} last"
    )
    plot = Plot(
        [Curve(list(zip(across, heights, strict=True)), dots=len(cells) <= 40)],
        title,
        x=[(0, "0"), (100, str(len(values) - 1))],
        y=scale.ticks(4) if scale else (),
        under="time step",
        hover=[
            (
                100 * first / len(values),
                100 * stop / len(values),
                f"{_steps(first, stop)}: δ {units.number(value)}",
            )
            for first, stop, value in cells
        ],
        broken=[x for x, (_, _, value) in zip(across, cells, strict=True) if not math.isfinite(value)],
    )
    return tag("figure", tag("figcaption", *_about(recurrence)), drawn(plot))


def _about(recurrence: Recurrence) -> Iterable[Html | str]:
    yield code(recurrence.name)
    values = recurrence.delta_norms
    yield tag("small", f" {units.number(values[0])} first, {units.number(values[-1])} last")
    if recurrence.source is not None and str(recurrence.source) not in recurrence.name:
        yield tag("small", " ", code(recurrence.source), class_="where")


def _rest(count: int) -> Html:
    if count <= 0:
        return NOTHING
    return tag("p", f"{units.counted(count, 'more loop')} stand in the heat map and in the table only.")


def _twin(shown: Sequence[Recurrence]) -> Html:
    rows = [
        [code(each.name), _steps(first, stop).partition(" ")[2], units.cell(value)]
        for each in shown
        for first, stop, value in stretches(each.delta_norms)
    ]
    title = "norm of δ at each time step"
    return details("The same numbers as a table", table(["loop", "time step", "δ"], rows, caption=title))

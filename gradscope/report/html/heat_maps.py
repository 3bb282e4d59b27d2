"""Every layer over a training: δ on one scale for all layers, and beside it update / weight on its own.

The cells of a row that share a shade are one element, and its title has their range: a training of 200 layers
stays a page of some hundred kilobytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from gradscope.language import heading
from gradscope.records import History
from gradscope.report.html.markup import NOTHING, Html, details, joined, table, tag, tick
from gradscope.report.html.profile import room
from gradscope.report.html.scales import short, step_ticks
from gradscope.report.html.shades import BROKEN, NO_SHADE, UNMEASURED, ramp, shade
from gradscope.report.shared import units
from gradscope.report.shared.heat_map import (
    USUAL_UPDATE,
    HeatMap,
    HeatRow,
    delta_known,
    delta_map,
    even_rows,
    update_map,
)
from gradscope.report.shared.history import steps_text
from gradscope.report.shared.time_columns import steps_in, time_columns

MOST_ROWS = 200
MOST_CELLS = 6000
"""Of a map; where the layers are many the columns are fewer."""
COLUMNS = (24, 60)
DENSE = 24
"""Beyond so many rows they stand closer."""
TABLE_COLUMNS = 8

Edges = Sequence[tuple[int, int]]
"""First and last step of each column."""


def heat_maps(history: History, marked: Sequence[int]) -> Html:
    """`marked` are the steps of upright lines."""
    rows = max(1, even_rows(len(history.layers), MOST_ROWS))
    low, high = COLUMNS
    columns = time_columns(history, max(low, min(high, MOST_CELLS // rows)))
    found = (delta_map(history, columns, rows), update_map(history, columns, rows))
    maps = [each for each in found if each is not None]
    if not maps:
        return NOTHING
    edges = [steps_in(history, column) for column in columns]
    names = [row.name + row.others for row in maps[0].rows]
    head = tag("li", tag("span"), *(tag("b", each.title) for each in maps), class_="axes")
    lines = (
        tag(
            "li",
            tag("span", tag("bdi", name, dir="ltr"), class_="name", title=maps[0].rows[place].label),
            *(_strip(each.rows[place], each, edges, marked) for each in maps),
        )
        for place, name in enumerate(names)
    )
    axis = tag(
        "li", tag("span", heading("step")), *(_axis(history) for _ in maps), class_="axes", aria_hidden="true"
    )
    figure = tag(
        "figure",
        tag("ol", head, *lines, axis),
        *(tag("figcaption", *_legend(each)) for each in maps),
        tag("figcaption", " ".join(_remarks(history, maps))),
        class_=f"heat maps{' dense' if len(names) > DENSE else ''}",
        style=f"{room(names)};--maps:{len(maps)}",
    )
    return joined([figure, _twin(history)])


def _strip(row: HeatRow, of: HeatMap, edges: Edges, marked: Sequence[int]) -> Html:
    label = f"{of.title} of {row.label}: {_number(row.first)} first, {_number(row.last)} last"
    start, steps = edges[0][0], edges[-1][1] + 1 - edges[0][0]
    cells, crosses = [], ""
    for kind, run in groupby(range(len(edges)), key=lambda place: _shade(row.cells[place], of)):
        places = list(run)
        first, last = edges[places[0]][0], edges[places[-1]][1]
        left, right = _across(first - start, steps), _across(last + 1 - start, steps)
        about = f"{steps_text(first, last)}: {_range([row.cells[place] for place in places])}"
        cells.append(
            tag(
                "rect",
                tag("title", about),
                x=short(left),
                width=short(right - left),
                height=1,
                class_=kind,
            )
        )
        if kind == BROKEN:
            crosses += f"M{short(left)} 0L{short(right)} 1M{short(right)} 0L{short(left)} 1"
    uprights = "".join(f"M{short(_across(step - start, steps))} 0V1" for step in marked)
    return tag(
        "svg",
        tag("title", label),
        *cells,
        tag("path", class_="odd", d=crosses) if crosses else NOTHING,
        tag("path", class_="mark", d=uprights) if uprights else NOTHING,
        viewBox="0 0 100 1",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def _across(step: int, steps: int) -> float:
    """Rounded here: neighbours meet where one ends and the next begins."""
    return round(100 * step / steps, 1)


def _shade(value: float | None, of: HeatMap) -> str:
    if value is None:
        return UNMEASURED
    if not math.isfinite(value):
        return BROKEN
    return shade(of.scale.place(value)) if value > 0 and of.scale is not None else NO_SHADE


def _range(values: Sequence[float | None]) -> str:
    """Of cells of one shade."""
    known = [value for value in values if value is not None]
    if not known:
        return "not measured"
    low, high = _number(min(known)), _number(max(known))
    return low if low == high else f"{low} to {high}"


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    return units.cell(value) if math.isfinite(value) else "not finite"


def _axis(history: History) -> Html:
    ticks = (
        tick(label, place, short(place)) for place, label in step_ticks(history.begun, history.steps - 1)
    )
    return tag("span", *ticks, class_="axis")


def _legend(of: HeatMap) -> Iterator[str]:
    yield tag("b", of.title)
    if of.scale is None:
        return
    low, high = (units.number(end) for end in of.scale.ends)
    less, more = (" or less", " or more") if of.absolute else ("", "")
    yield joined([" ", ramp(low + less, high + more), " on a log scale"])
    yield f"; about {units.number(USUAL_UPDATE)} is usual." if of.absolute else ", one for all layers."


def _remarks(history: History, maps: Sequence[HeatMap]) -> Iterator[str]:
    yield "Rows are layers, the input first; a cell is the highest of its steps."
    if not delta_known(history):
        yield "δ was not recorded: the gradient of each layer's weight stands in its place."
    odd = [
        (0.0, "an empty cell is zero"),
        (math.inf, "a cross is not finite"),
        (None, "grey was not measured"),
    ]
    if told := [text for value, text in odd if any(each.has(value) for each in maps)]:
        text = "; ".join(told)
        yield f"{text[0].upper()}{text[1:]}."
    if (grouped := max(each.grouped for each in maps)) > 1:
        yield f"A row is the highest of up to {units.counted(grouped, 'layer')}."


def _twin(history: History) -> Html:
    columns = time_columns(history, TABLE_COLUMNS)
    titles = [steps_text(*steps_in(history, column)) for column in columns]
    rows = even_rows(len(history.layers), MOST_ROWS)
    found = (delta_map(history, columns, rows), update_map(history, columns, rows))
    tables = [
        table(
            [each.title, *titles],
            [[tag("code", row.label), *map(_cell, row.cells)] for row in each.rows],
            caption=f"{each.title}, the highest of each stretch of steps",
        )
        for each in found
        if each is not None
    ]
    return details("The layers as a table", *tables)


def _cell(value: float | None) -> str:
    return units.cell(value) if value is None or math.isfinite(value) else "not finite"

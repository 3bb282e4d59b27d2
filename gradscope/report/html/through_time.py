"""Credit through time: heat maps of step × layer and step × gradient, and what is lost by cutting."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Measurement, TimeCredit, Truncation
from gradscope.report.html.markup import NOTHING, Frame, Html, code, details, joined, prose, table, tag
from gradscope.report.html.profile import room
from gradscope.report.html.recurrences import MOST_CELLS, legend, stretches, strip
from gradscope.report.html.scales import Logarithmic, logarithmic
from gradscope.report.shared import units
from gradscope.report.shared.through_time import (
    StepRow,
    StepRows,
    losing,
    relative,
    row_groups,
    sentences,
    title,
    truncation_sentence,
)


def through_time(flow: Measurement, frame: Frame) -> Html:
    parts = [part for credit in flow.time_credit for part in _credit(credit, frame)]
    if flow.truncation is not None:
        parts += _truncation(flow.truncation)
    return frame.section("credit", "Credit through time", *parts)


def _credit(credit: TimeCredit, frame: Frame) -> list[Html]:
    groups = row_groups(credit)
    return [
        frame.heading(2, title(credit)),
        *(_heat_map(group) for group in groups),
        *(tag("p", prose(sentence)) for sentence in sentences(credit)),
        _twin(groups),
    ]


def _heat_map(group: StepRows) -> Html:
    scale = logarithmic(value for row in group.rows for value in row.values)
    rows = (
        tag("li", tag("span", tag("bdi", row.name, dir="ltr"), class_="name"), _strip(row, group, scale))
        for row in group.rows
    )
    ends = tag("span", tag("span", "step 1"), tag("span", f"step {group.length}"), class_="ends")
    foot = tag("li", tag("span"), ends, aria_hidden="true")
    # A capital δ would be another letter.
    name = group.title if group.title.startswith("δ") else f"{group.title[0].upper()}{group.title[1:]}"
    caption = f"{name}: its norm at each step"
    if group.length > MOST_CELLS:
        caption += "; where several steps share a cell it shows their median"
    told = joined(legend(scale)) if scale else NOTHING
    return tag(
        "figure",
        tag("ol", *rows, foot),
        tag("figcaption", caption, ". ", told),
        class_="heat",
        style=room(row.name for row in group.rows),
    )


def _strip(row: StepRow, group: StepRows, scale: Logarithmic | None) -> Html:
    first, last = units.number(row.values[0]), units.number(row.values[-1])
    steps = units.counted(len(row.values), "step")
    label = f"{group.title}, {row.name} over {steps}: {first} first, {last} last"
    if row.largest:
        label += f"; largest share {row.largest}"

    def about(start: int, stop: int) -> str:
        return f"{row.name}, {_steps(start, stop)}:"

    return strip(row.values, scale, label, about, group.length)


def _steps(start: int, stop: int) -> str:
    return f"step {start + 1}" if stop == start + 1 else f"steps {start + 1} to {stop}"


def _twin(groups: Sequence[StepRows]) -> Html:
    rows = [
        [code(row.name), group.title, _steps(start, stop).partition(" ")[2], units.cell(value), row.largest]
        for group in groups
        for row in group.rows
        for start, stop, value in stretches(row.values)
    ]
    titles = ["of", "what", "step", "norm", "largest share"]
    return details(
        "The same numbers as a table", table(titles, rows, caption="credit at each step", words=[1, 4])
    )


def _truncation(found: Truncation) -> list[Html]:
    rows = [[code(each.parameter), relative(each.lost), units.number(each.cosine)] for each in losing(found)]
    titles = ["parameter", "lost", "cosine to the whole"]
    caption = "gradients with backpropagation through time cut"
    return [
        tag("p", truncation_sentence(found)),
        *([table(titles, rows, caption=caption)] if rows else []),
    ]

"""The memory of a training step on the page: what each layer keeps as a bar of its operations, the tables."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import KeptArray, Memory
from gradscope.report.html.markup import NOTHING, Frame, Html, code, joined, prose, tag
from gradscope.report.html.profile import room
from gradscope.report.html.scales import short
from gradscope.report.html.shades import SHADES
from gradscope.report.html.small_tables import small_table
from gradscope.report.shared import units
from gradscope.report.shared.memory import KeptGroup, by_layer, form_of, maker_of, summary
from gradscope.report.shared.memory_advice import advice, tables
from gradscope.report.shared.table import SmallTable

MOST_BARS = 60
WIDTH = 100.0


def memory(found: Memory | None, frame: Frame) -> Html:
    if found is None:
        return NOTHING
    line = found.checkpointing.line if found.checkpointing is not None else ""
    return joined(
        [
            frame.section(
                "memory",
                "Memory of a training step",
                *(tag("p", prose(sentence)) for sentence in summary(found)),
                _picture(by_layer(found)),
                *(tag("p", prose(sentence)) for sentence in advice(found)),
                tag("pre", code(line)) if line else NOTHING,
            ),
            *(_table(each, frame) for each in tables(found)),
        ]
    )


def _table(found: SmallTable, frame: Frame) -> Html:
    name = found.title.lower().replace(" ", "-")
    return frame.section(name, found.title, tag("p", prose(found.meaning)), small_table(found))


def _picture(groups: Sequence[KeptGroup]) -> Html:
    """A row for each layer, on one scale; the pieces of it are operations, the largest first."""
    shown = groups[:MOST_BARS]
    if not shown:
        return NOTHING
    largest = shown[0].size or 1
    names = [group.name for group in shown]
    rows = (
        tag("li", tag("span", tag("bdi", group.name, dir="ltr"), class_="name"), _bar(group, largest))
        for group in shown
    )
    text = (
        "What each layer keeps for the backward pass, all on one scale; the pieces of a bar are its "
        "operations, the darkest keeps most."
    )
    if len(shown) < len(groups):
        text += f" {units.count(len(groups) - len(shown))} more layers keep less than any of these."
    return tag("figure", tag("ol", *rows), tag("figcaption", text), class_="heat memory", style=room(names))


def _bar(group: KeptGroup, largest: int) -> Html:
    pieces: dict[str, list[KeptArray]] = {}
    for array in group.arrays:
        pieces.setdefault(maker_of(array.made_by), []).append(array)
    ranked = sorted(pieces.items(), key=lambda piece: -sum(array.size for array in piece[1]))
    left, drawn = 0.0, []
    for place, (name, arrays) in enumerate(ranked):
        size = sum(array.size for array in arrays)
        width = WIDTH * size / largest
        about = f"{name}: {units.size(size)} in {units.counted(len(arrays), 'array')}, {form_of(arrays[0])}"
        drawn.append(
            tag(
                "rect",
                tag("title", about),
                x=short(left),
                width=short(width),
                height=1,
                class_=f"s{max(1, SHADES - place)}",
            )
        )
        left += width
    label = f"{group.name} keeps {units.size(group.size)}"
    return tag(
        "svg",
        tag("title", label),
        *drawn,
        viewBox=f"0 0 {short(WIDTH)} 1",
        preserveAspectRatio="none",
        role="img",
    )

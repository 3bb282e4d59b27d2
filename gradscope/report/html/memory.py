"""The memory of a training step on the page: what each layer keeps as a bar of its operations, the tables."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import KeptArray, Memory
from gradscope.report.html.layer_bars import MOST_BARS, BarPiece, LayerBar, layer_bars
from gradscope.report.html.markup import NOTHING, Frame, Html, code, joined, prose, tag
from gradscope.report.html.shades import SHADES
from gradscope.report.html.small_tables import explained
from gradscope.report.shared import units
from gradscope.report.shared.memory import KeptGroup, by_layer, form_of, maker_of, summary
from gradscope.report.shared.memory_advice import advice, tables


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
            *(explained(each, frame) for each in tables(found)),
        ]
    )


def _picture(groups: Sequence[KeptGroup]) -> Html:
    """A row for each layer, on one scale; the pieces of it are operations, the largest first."""
    shown = groups[:MOST_BARS]
    if not shown:
        return NOTHING
    largest = shown[0].size or 1
    text = (
        "What each layer keeps for the backward pass, all on one scale; the pieces of a bar are its "
        "operations, the darkest keeps most."
    )
    if len(shown) < len(groups):
        text += f" {units.count(len(groups) - len(shown))} more layers keep less than any of these."
    return layer_bars([_bar(group, largest) for group in shown], text)


def _bar(group: KeptGroup, largest: int) -> LayerBar:
    made: dict[str, list[KeptArray]] = {}
    for array in group.arrays:
        made.setdefault(maker_of(array.made_by), []).append(array)
    ranked = sorted(made.items(), key=lambda each: -sum(array.size for array in each[1]))
    pieces = []
    for place, (name, arrays) in enumerate(ranked):
        size = sum(array.size for array in arrays)
        about = f"{name}: {units.size(size)} in {units.counted(len(arrays), 'array')}, {form_of(arrays[0])}"
        pieces.append(BarPiece(about, size / largest, SHADES - place))
    return LayerBar(group.name, f"{group.name} keeps {units.size(group.size)}", pieces)

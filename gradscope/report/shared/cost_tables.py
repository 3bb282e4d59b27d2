"""The tables of the cost of a training step."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.language import heading
from gradscope.records import Cost, CostGrowth
from gradscope.report.shared import units
from gradscope.report.shared.cost import ALL, CostRow, alike, every_row, share_of
from gradscope.report.shared.cost_growth import axis_name
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.memory import place_of, text_of
from gradscope.report.shared.table import Column, SmallTable

MANY = 12
"""Layers from which on those that are named alike have a table of their own."""
ESTIMATED = "~"
_MEANING = (
    "Operations and bytes are counted in the program: bytes are those of the operands and results of every "
    "equation, as they move where nothing is fused. Backward of a layer is what its derivative takes."
)


def layer_table(found: Cost) -> SmallTable | None:
    rows = every_row(found)
    return _table(found, rows, "Cost by layer", "cost by layer, in forward order") if rows else None


def alike_table(found: Cost) -> SmallTable | None:
    rows = alike(found)
    if len(found.layers) <= MANY or len(rows) > len(found.layers) / 2:
        return None
    return _table(found, rows, "Layers named alike", "cost of layers that are named alike, together")


def _table(found: Cost, rows: Sequence[CostRow], title: str, heading: str) -> SmallTable:
    total = CostRow(ALL, found.layers)
    every = [*rows, total]
    several = any(len(row.layers) > 1 for row in rows)
    names, columns = [row.name for row in every], _columns(found, every)
    if several:
        counts = [units.count(len(row.layers)) for row in every]
        columns.insert(0, Column(("", "layers"), 6, counts))
    else:
        lines = [place_of(row.layers[0].source) if row.layers[0].source else "" for row in rows]
        columns.append(Column(("", "line"), 7, [*lines, ""], right=False))
    urgency = [*(-(share_of(row, found) or 0.0) for row in rows), -2.0]
    return SmallTable(title, "layer", names, columns, urgency, _MEANING, heading=heading)


def _columns(found: Cost, rows: Sequence[CostRow]) -> list[Column]:
    timed = found.parts_s is not None
    share = "of time" if timed else "of operations"
    return [
        Column(("operations", "forward"), 2, [units.operations(row.forward.operations) for row in rows]),
        Column(("", "backward"), 2, [units.operations(row.backward.operations) for row in rows]),
        Column(("backward", "/ forward"), 5, [_ratio(row) for row in rows]),
        Column(("bytes", "moved"), 6, [units.size(row.size) for row in rows]),
        Column(("per", "byte"), 4, [_intensity(row) for row in rows]),
        Column(("time", "forward"), 1, [_time(row, row.forward.seconds) for row in rows]),
        Column(("", "backward"), 1, [_time(row, row.backward.seconds) for row in rows]),
        Column(("share", share), 0, [units.share(share_of(row, found)) for row in rows]),
        Column(("FLOP", "per second"), 3, [_speed(row) for row in rows]),
    ]


def _ratio(row: CostRow) -> str:
    forward, backward = row.forward.operations, row.backward.operations
    return units.cell(backward / forward) if forward else ""


def _intensity(row: CostRow) -> str:
    return units.cell(row.operations / row.size) if row.size else ""


def _time(row: CostRow, seconds: float | None) -> str:
    return f"{ESTIMATED if row.estimated and seconds is not None else ''}{units.brief(seconds)}"


def _speed(row: CostRow) -> str:
    return units.operations(row.operations / row.seconds).replace("FLOP", "").strip() if row.seconds else ""


def line_table(found: Cost) -> SmallTable | None:
    rows = found.lines
    if not rows:
        return None
    whole = found.operations or 1.0
    return SmallTable(
        title="Cost by operation",
        head="line",
        names=[place_of(row.source) for row in rows],
        columns=[
            Column(("", "operation"), 1, [visible(row.primitive) for row in rows], right=False),
            Column(("operations", "forward"), 2, [units.operations(row.forward) for row in rows]),
            Column(("", "backward"), 2, [units.operations(row.backward) for row in rows]),
            Column(
                ("share of", "operations"), 0, [units.share((r.forward + r.backward) / whole) for r in rows]
            ),
            Column(
                ("per", "byte"),
                4,
                [units.cell((r.forward + r.backward) / r.size) if r.size else "" for r in rows],
            ),
            Column(("", "times"), 5, [units.count(row.equations) for row in rows]),
            Column(("", "code"), 6, [text_of(row.source) for row in rows], right=False),
        ],
        urgency=range(len(rows)),
        meaning="One operation at one line, in all layers, and its derivative.",
        heading="operations by line",
    )


def kind_table(found: Cost) -> SmallTable | None:
    kinds = found.kinds
    if not kinds:
        return None
    whole = found.operations or 1.0
    return SmallTable(
        title="Kinds of operations",
        head="kind",
        names=[heading(kind.name) for kind in kinds],
        columns=[
            Column(("operations", "forward"), 1, [units.operations(kind.forward) for kind in kinds]),
            Column(("", "backward"), 1, [units.operations(kind.backward) for kind in kinds]),
            Column(("", "share"), 0, [units.share((kind.forward + kind.backward) / whole) for kind in kinds]),
        ],
        urgency=range(len(kinds)),
        meaning="Of the loss and its gradient.",
        heading="kinds of operations",
    )


def growth_table(growth: CostGrowth) -> SmallTable:
    points = growth.points
    spans = [
        "" if point.low_s is None else f"{units.brief(point.low_s)} to {units.brief(point.high_s)}"
        for point in points
    ]
    name = axis_name(growth)
    return SmallTable(
        title=f"Growth with the {name}",
        head=growth.axis,
        names=[units.count(point.size) for point in points],
        columns=[
            Column(("", "operations"), 0, [units.operations(point.operations) for point in points]),
            Column(("", "time"), 1, [units.brief(point.seconds) for point in points]),
            Column(("half of", "the runs"), 2, spans),
        ],
        urgency=range(len(points)),
        meaning=f"Loss and gradient at other sizes of the {name}.",
        heading=f"growth with the {name}",
    )


def tables(found: Cost) -> list[SmallTable]:
    """All of a report, but those of growth."""
    every = alike_table(found), layer_table(found), line_table(found), kind_table(found)
    return [table for table in every if table is not None]

"""What each optimizer does to each layer, as small tables."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Comparison, Contestant
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable

MEANING = (
    "The update on the first batch, at the start and at the end of training, at the learning rate without "
    "its schedule: its root mean square, the same over that of the weights, and the cosine of its angle to "
    "the negative gradient: 1 is straight down, 0 across, below 0 up."
)


def update_tables(found: Comparison) -> Iterator[SmallTable]:
    """One for each optimizer that was asked for it."""
    rows = [row for row in found.contestants if row.updates]
    for row in rows:
        yield _table(row, MEANING if row is rows[-1] else "")


def _table(row: Contestant, said: str) -> SmallTable:
    ends = ("start", "end")
    cells = [
        ("rms", [(each.rms_first, each.rms_last) for each in row.updates]),
        ("/ weights", [(each.relative_first, each.relative_last) for each in row.updates]),
        ("cosine", [(each.cosine_first, each.cosine_last) for each in row.updates]),
    ]
    columns = [
        Column((what, end), 2 * place + number, [units.cell(pair[number]) for pair in pairs])
        for place, (what, pairs) in enumerate(cells)
        for number, end in enumerate(ends)
    ]
    title = f"Updates of {row.name}"
    # The last layer, then those before it, are the first to be left out.
    urgency = [float(place) for place in range(len(row.updates))]
    names = [each.layer for each in row.updates]
    return SmallTable(title, "layer", names, columns, urgency, "", said=said, heading=title)

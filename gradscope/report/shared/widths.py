"""Each optimizer at each width, as a small table."""

from __future__ import annotations

from gradscope.records import Comparison, OptimizerAtWidth
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable


def width_table(found: Comparison) -> SmallTable | None:
    """`None` where one width was compared."""
    names = [row.name for row in found.contestants]
    place = {name: number for number, name in enumerate(names)}
    rows = sorted(found.widths, key=lambda row: (place.get(row.name, len(place)), row.width))
    if not rows:
        return None
    columns = [
        Column(("", "width"), 0, [str(row.width) for row in rows]),
        Column(("", "parameters"), 5, [units.count(row.parameters) for row in rows]),
        Column(("learning", "rate"), 0, [units.number(row.learning_rate) for row in rows]),
        Column(("weight", "decay"), 3, [_decay(row) for row in rows]),
        Column(("", "loss"), 1, [units.cell(row.loss) for row in rows]),
        Column(("improvement", "/ reference"), 2, [_gain(row.gain) for row in rows]),
        Column(("lowest to", "highest"), 4, [_spread(row) for row in rows]),
    ]
    said = (
        f"Improvement: what an optimizer lowers the training loss by, over what the reference does, which is "
        f"{found.reference}; median over the seeds, lowest and highest."
    )
    urgency = [float(number) for number in range(len(rows))]
    names = [row.name for row in rows]
    return SmallTable("Widths", "optimizer", names, columns, urgency, "", said=said, heading="Widths")


def _decay(row: OptimizerAtWidth) -> str:
    return "" if row.weight_decay is None else units.cell(row.weight_decay)


def _gain(gain: float | None) -> str:
    return units.NOT_MEASURED if gain is None else f"{gain:.2f}"


def _spread(row: OptimizerAtWidth) -> str:
    if row.gain_low is None or row.gain_high is None:
        return ""
    return f"{row.gain_low:.2f} to {row.gain_high:.2f}"

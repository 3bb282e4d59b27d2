"""Layers before and after the short training, side by side."""

from __future__ import annotations

from gradscope.records import Layer, Report
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable


def after_table(report: Report) -> SmallTable | None:
    """`None` where there was no training, or its end could not be measured."""
    training, flow = report.training, report.flow
    if training is None or flow is None or not training.after:
        return None
    before: dict[str, Layer] = {layer.name: layer for layer in flow.layers}
    rows = [(before[each.layer], each) for each in training.after if each.layer in before]
    pairs: tuple[tuple[str, list[tuple[float | None, float | None]]], ...] = (
        ("activ. rms", [(one.activation_rms, other.activation_rms) for one, other in rows]),
        ("δ rms", [(one.delta_rms, other.delta_rms) for one, other in rows]),
        ("grad rms", [(one.gradient_rms, other.gradient_rms) for one, other in rows]),
        ("weight rms", [(one.weight_rms, other.weight_rms) for one, other in rows]),
    )
    columns = [
        column
        for place, (name, values) in enumerate(pairs)
        for column in (
            Column((name, "before"), place, [units.cell(one) for one, _ in values]),
            Column(("", "after"), place, [units.cell(other) for _, other in values]),
        )
    ]
    steps = units.counted(training.steps, "step")
    return SmallTable(
        "After the steps",
        "layer",
        [each.layer for _, each in rows],
        columns,
        [-_moved(one.delta_rms, other.delta_rms) for one, other in rows],
        f"Each layer before and after {steps}, on the same batches.",
        heading=f"before and after {steps} of {training.optimizer}",
    )


def _moved(one: float | None, other: float | None) -> float:
    """By which factor δ has become larger or smaller."""
    if not one or not other:
        return 0.0
    return max(one / other, other / one)

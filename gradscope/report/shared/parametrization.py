"""Layers over widths, as every format for people words them."""

from __future__ import annotations

import math

from gradscope.records import Exponent, LayerOverWidths, Parametrization
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable

MEANING = (
    "change: rms of the difference that the steps make to a layer's output, on the first batch; mean over "
    "the seeds. Exponent: of the width, with the 95 % interval of the fit; near 0 where learning rates hold "
    "at other widths. At start: the same of the output before the steps, which may fall, and should not grow."
)


def parametrization_table(found: Parametrization) -> SmallTable:
    layers = found.layers
    columns = [
        Column(("change at", str(width)), 2 + place % 2, [units.cell(_mean(each, width)) for each in layers])
        for place, width in enumerate(found.widths)
    ]
    columns += [
        Column(("", "exponent"), 0, [_value(each.change) for each in layers]),
        Column(("95 %", "interval"), 1, [_interval(each.change) for each in layers], right=False),
        Column(("at start", "exponent"), 1, [_value(each.start) for each in layers]),
        Column(("", "kind"), 4, [each.kind for each in layers], right=False),
    ]
    return SmallTable(
        "Widths",
        "layer",
        [each.layer for each in layers],
        columns,
        [-abs(each.change.value) if each.change is not None else -math.inf for each in layers],
        MEANING,
        heading=f"Over widths: {units.counted(found.steps, 'step')} of {found.optimizer} from "
        f"{units.counted(len(found.seeds), 'start')} at each",
        said="Change: what the steps make of a layer's output (rms of the difference). Exponents are of the "
        "width: near 0 where a learning rate holds at other widths.",
    )


def _mean(layer: LayerOverWidths, width: int) -> float:
    changes = [point.change for point in layer.points if point.width == width]
    return sum(changes) / len(changes)


def _value(exponent: Exponent | None) -> str:
    return units.NOT_MEASURED if exponent is None else f"{exponent.value:.2f}"


def _interval(exponent: Exponent | None) -> str:
    return "" if exponent is None else f"{exponent.low:.2f} to {exponent.high:.2f}"

"""A quantity of every layer over a training: rows are layers in forward order, columns are time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradscope.records import Extremes, History, LayerHistory
from gradscope.report.shared.bars import LogScale, scale_of

UPDATES = LogScale(-5.0, 0.0)
"""Of update / weight: the same in every report, since about 1e-3 is usual."""
USUAL_UPDATE = 1e-3


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One layer, or neighbouring ones of which each cell shows the highest."""

    name: str
    """Of the first of them, and of the last."""
    last_name: str
    layers: int
    cells: tuple[float | None, ...]
    """The highest of each column; `None` where nothing was measured, infinite where it is not finite."""
    first: float | None
    """Of the first and of the last span."""
    last: float | None

    @property
    def label(self) -> str:
        return self.name if self.layers == 1 else f"{self.name} to {self.last_name}"

    @property
    def others(self) -> str:
        """What stands behind the name of the first: ` +4`, or nothing."""
        return f" +{self.layers - 1}" if self.layers > 1 else ""


@dataclass(frozen=True, slots=True)
class HeatMap:
    title: str
    rows: tuple[HeatRow, ...]
    scale: LogScale | None
    """One for all rows; `None` where no cell is positive and finite."""
    absolute: bool
    """The scale does not come from the values: some may lie beyond its ends."""

    @property
    def grouped(self) -> int:
        """The most layers that one row stands for."""
        return max((row.layers for row in self.rows), default=0)

    def has(self, what: float | None) -> bool:
        """Whether a cell is zero, infinite or `None`."""
        return any(cell == what for row in self.rows for cell in row.cells)


def even_rows(layers: int, most: int) -> int:
    """At most so many rows, each but the last of equally many layers."""
    return -(-layers // max(1, -(-layers // most)))


def delta_map(history: History, columns: Sequence[range], most: int) -> HeatMap | None:
    """δ of the layers on one scale, so that its profile over depth and time is seen. Where no δ is known the
    gradient stands in its place."""
    if delta_known(history):
        return _map("δ rms", history, [_highs(layer.delta_rms) for layer in history.layers], columns, most)
    gradients = [_highs(layer.gradient_rms) for layer in history.layers]
    return _map("gradient rms", history, gradients, columns, most)


def update_map(history: History, columns: Sequence[range], most: int) -> HeatMap | None:
    """The relative change that a step makes: of each span the largest update over the largest weight."""
    found = _map("update / weight", history, [_updates(layer) for layer in history.layers], columns, most)
    return found and replace(found, scale=UPDATES, absolute=True)


def delta_known(history: History) -> bool:
    return any(layer.delta_rms is not None for layer in history.layers)


Series = tuple[float | None, ...]
"""Over the spans."""


def _map(
    title: str, history: History, values: Sequence[Series | None], columns: Sequence[range], most: int
) -> HeatMap | None:
    if all(of is None for of in values) or not columns:
        return None
    nothing: Series = (None,) * len(history.spans)
    layers, count = len(values), min(len(values), max(1, most))
    rows = []
    for row in range(count):
        places = range(row * layers // count, (row + 1) * layers // count)
        together = [values[place] or nothing for place in places]
        series = together[0] if len(places) == 1 else tuple(map(_highest, zip(*together, strict=True)))
        rows.append(
            HeatRow(
                history.layers[places[0]].name,
                history.layers[places[-1]].name,
                len(places),
                tuple(_highest(series[column.start : column.stop]) for column in columns),
                series[0],
                series[-1],
            )
        )
    return HeatMap(title, tuple(rows), scale_of(cell for row in rows for cell in row.cells), absolute=False)


def _highest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _highs(of: Extremes | None) -> Series | None:
    return None if of is None else tuple(None if math.isnan(value) else value for value in of.high)


def _updates(layer: LayerHistory) -> Series | None:
    updates, weights = _highs(layer.update_rms), _highs(layer.weight_rms)
    if updates is None or weights is None:
        return None
    return tuple(map(_relative, updates, weights))


def _relative(update: float | None, weight: float | None) -> float | None:
    if update is None or weight is None:
        return None
    if not math.isfinite(update) or not math.isfinite(weight):
        return math.inf
    return update / weight if weight else None

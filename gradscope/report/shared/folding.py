"""Which layers of a deep model are shown, and what is said of the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradscope.records import Finding, Layer

FOLDED_ABOVE = 24
EDGE = 3
"""Layers shown at each end."""
WORST = 12
"""Layers with findings that are shown, gravest first."""
ALIKE = 10.0
"""δ of layers that are called alike differs by less than this factor."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A stretch of layers that one row stands for."""

    layers: tuple[Layer, ...]

    def delta_range(self) -> tuple[float, float] | None:
        """Smallest and largest finite δ rms; `None` where there is none."""
        finite = [v for v in self._deltas() if math.isfinite(v)]
        return (min(finite), max(finite)) if finite else None

    @property
    def not_finite(self) -> int:
        """Layers whose δ is NaN or infinite."""
        return sum(not math.isfinite(v) for v in self._deltas())

    @property
    def alike(self) -> bool:
        known = self.delta_range()
        if known is None or self.not_finite:
            return False
        low, high = known
        return low == high or 0 < low <= high < low * ALIKE

    def _deltas(self) -> list[float]:
        return [layer.delta_rms for layer in self.layers if layer.delta_rms is not None]


def flags_by_layer(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    flags: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.layer is not None:
            flags.setdefault(finding.layer, []).append(finding)
    return flags


def fold_layers(
    layers: Sequence[Layer], flags: Mapping[str, Sequence[Finding]], show_all: bool
) -> list[Layer | Folded]:
    """First, last and worst layers in forward order, and the stretches between them."""
    if show_all or len(layers) <= FOLDED_ABOVE:
        return list(layers)
    kept = set(range(EDGE)) | set(range(len(layers) - EDGE, len(layers)))
    flagged = [index for index, layer in enumerate(layers) if layer.name in flags]
    flagged.sort(key=lambda index: min(finding.severity.rank for finding in flags[layers[index].name]))
    kept |= set(flagged[:WORST])
    # A row that stands for one layer is no shorter than that layer.
    kept |= {i for i in range(1, len(layers) - 1) if i - 1 in kept and i + 1 in kept}
    rows: list[Layer | Folded] = []
    hidden: list[Layer] = []
    for index, layer in enumerate(layers):
        if index not in kept:
            hidden.append(layer)
            continue
        if hidden:
            rows.append(Folded(tuple(hidden)))
            hidden = []
        rows.append(layer)
    return rows

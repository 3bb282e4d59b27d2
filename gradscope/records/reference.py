"""How a target was when its baseline was written: what `changed-profile` measures a run against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """The numbers of one layer that a baseline keeps; each means what it means in `Layer`."""

    name: str
    gradient_rms: float
    delta_norm: float | None
    activation_rms: float | None
    weight_rms: float
    delta_norm_spread: float | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    baseline: str
    """The file, as messages name it."""
    layers: tuple[LayerProfile, ...]

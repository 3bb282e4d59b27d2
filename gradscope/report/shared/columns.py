"""The columns of the layer table that hold a number, and which of them goes first when it is narrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradscope.language import heading as spoken
from gradscope.records import Layer
from gradscope.report.shared import units


@dataclass(frozen=True, slots=True)
class LayerColumn:
    title: tuple[str, str]
    """Two lines, the upper one first."""
    priority: int
    """The highest is left out first."""
    cell: Callable[[Layer], str]
    meaning: str
    only_if_any: bool = False
    """Left out where no layer has something in it."""

    @property
    def heading(self) -> str:
        """The title on one line."""
        return " ".join(map(spoken, self.title)).strip()


def _ratio(layer: Layer) -> str:
    return units.cell(layer.gradient_to_weight) if layer.weight_rms else units.NOT_MEASURED


def _update(layer: Layer) -> str:
    if layer.update_rms is None:
        return ""
    return units.cell(layer.update_rms / layer.weight_rms) if layer.weight_rms else units.NOT_MEASURED


def _some(part: float | None) -> str:
    return units.share(part) if part else ""


COLUMNS = (
    LayerColumn(("", "params"), 5, lambda layer: units.count(layer.size), "elements of all its parameters"),
    LayerColumn(
        ("weight", "rms"),
        6,
        lambda layer: units.cell(layer.weight_rms),
        "root mean square of its weight, without the bias",
    ),
    LayerColumn(
        ("grad", "norm"),
        4,
        lambda layer: units.cell(layer.gradient_norm),
        "norm of the gradient of all its parameters",
    ),
    LayerColumn(
        ("grad", "rms"),
        7,
        lambda layer: units.cell(layer.gradient_rms),
        "root mean square of the gradient of its weight",
    ),
    LayerColumn(("grad /", "weight"), 2, _ratio, "grad rms over weight rms"),
    LayerColumn(
        ("update", "/ weight"),
        2,
        _update,
        "root mean square of the optimizer's first update of the weight, over weight rms",
        only_if_any=True,
    ),
    LayerColumn(
        ("zero", "grad"),
        3,
        lambda layer: _some(layer.gradient_zero_share),
        "share of the gradient that is exactly zero",
        only_if_any=True,
    ),
    LayerColumn(
        ("not", "finite"),
        1,
        lambda layer: _some(layer.gradient_nonfinite_share),
        "share of the gradient that is NaN or infinite",
        only_if_any=True,
    ),
    LayerColumn(
        ("activ.", "rms"),
        3,
        lambda layer: units.cell(layer.activation_rms),
        "root mean square of its output z, before the activation function",
    ),
    LayerColumn(
        ("δ", "rms"),
        0,
        lambda layer: units.cell(layer.delta_rms),
        "root mean square of δ = ∂L/∂z, the gradient of the loss with respect to its output z",
    ),
)


def telling(rows: Sequence[Layer]) -> list[LayerColumn]:
    """The columns that have something to say about one of these layers."""
    return [c for c in COLUMNS if not c.only_if_any or any(c.cell(layer) for layer in rows)]

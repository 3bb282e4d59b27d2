"""What a training did step by step: as it is recorded, and thinned to a bounded size as it is judged."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

from gradscope.records.common import Source
from gradscope.records.record import record

OF_PARAMETERS = ("gradient_rms", "weight_rms", "update_rms")
QUANTITIES = ("activation_rms", "delta_rms", *OF_PARAMETERS)
"""What is recorded of each layer: root mean squares over the elements of its output, of δ = ∂L/∂output, and
of its largest parameter leaf: the gradient, the values after the step, and what the step really changed."""


class Ending(StrEnum):
    """Why a training stopped."""

    COMPLETE = "complete"
    """All steps that were asked for."""
    DATA_ENDED = "data-ended"
    NOT_FINITE = "not-finite"
    """A parameter would have become NaN or infinite: it stayed as before that step."""
    LOSS_NOT_FINITE = "loss-not-finite"
    """The loss was NaN or infinite at so many steps in a row that it was stopped."""
    INTERRUPTED = "interrupted"
    RUNNING = "running"
    """No end was recorded: the training goes on, or was killed."""


@record
class RecordedLayer:
    name: str
    source: Source | None = None


@record
class Heading:
    """What is the same for all steps of a training."""

    target: str
    optimizer: str
    """`your optimizer`, or the one that was taken instead: `adam(0.001)`."""
    own: bool
    layers: tuple[RecordedLayer, ...]
    """In forward order."""
    asked: int | None = None
    """Steps; `None` where nobody said how many."""
    every: int = 1
    """The layers are measured at each step whose number this divides."""
    quantities: tuple[str, ...] = QUANTITIES
    """Those that are measured: a recorder in an optimizer sees neither activations nor δ."""
    gradscope: str = ""
    jax: str = ""
    """The versions that recorded it."""
    backend: str = ""


@record
class StepRecord:
    """One measured step; step 0 is the first, and its loss is the one before any update."""

    step: int
    losses: tuple[float, ...]
    """Of the steps since the record before, this one last; empty where the loss is not known."""
    gradient_norm: float
    """Euclidean norm over all parameters."""
    values: tuple[tuple[float, ...], ...]
    """f64[quantities, layers]; NaN where a layer has no such value, infinite where it is not finite."""


@record
class LossRecord:
    """Losses of the last steps of a training, whose layers were not measured."""

    step: int
    """The last of them."""
    losses: tuple[float, ...]


@record
class ValidationRecord:
    step: int
    """Steps that had been taken."""
    loss: float


@record
class Extremes:
    """The smallest and the largest of a number within each span of steps. NaN counts as infinite."""

    low: tuple[float, ...]
    high: tuple[float, ...]


@record
class LayerHistory:
    """Each quantity over the spans; `None` where the layer has no such value."""

    name: str
    source: Source | None
    activation_rms: Extremes | None
    delta_rms: Extremes | None
    gradient_rms: Extremes | None
    weight_rms: Extremes | None
    update_rms: Extremes | None


@record
class History:
    """A whole training, in a bounded number of spans of steps: up to that many steps, each is its own."""

    optimizer: str
    own: bool
    steps: int
    """That were taken, those before a training was taken up again included."""
    asked: int | None
    every: int
    ending: Ending
    spans: tuple[int, ...]
    """The first step of each."""
    losses: Extremes
    mean_losses: tuple[float, ...]
    """Over the finite losses of each span; NaN where there is none."""
    gradient_norms: Extremes
    layers: tuple[LayerHistory, ...]
    validation: tuple[ValidationRecord, ...] = ()
    nonfinite_loss_at: int | None = None
    """The first step whose loss is NaN or infinite."""
    nonfinite_since: int | None = None
    """The step from which on no loss was finite, to the last one."""
    nonfinite_gradient_at: int | None = None
    """The first measured step whose gradient is."""
    batches_per_pass: int | None = None
    """Different batches, where a pass over them ended."""
    last_loss: float | None = None
    last_measured: int | None = None
    """The last step whose layers were measured."""
    record_cut_off: bool = False
    """The recording ended in the midst of a line, as a killed process leaves it."""

    def span_of(self, place: int) -> tuple[int, int]:
        """The first and the last step of a span."""
        after = self.spans[place + 1] if place + 1 < len(self.spans) else self.steps
        return self.spans[place], max(after - 1, self.spans[place])

    def to_rows(self) -> list[dict[str, Any]]:
        """A table: one row for each number that is known of each span of steps, as pandas and polars take it.

        `step` and `last_step` are the span, `layer` is `None` for numbers of the whole network, `quantity` is
        `loss`, `mean_loss`, `gradient_norm`, `validation_loss` or one of `QUANTITIES`, and `low` and `high`
        are the extremes within the span: equal where it is one step.
        """
        rows: list[dict[str, Any]] = []

        def add(first: int, last: int, layer: str | None, quantity: str, low: float, high: float) -> None:
            row = {"step": first, "last_step": last, "layer": layer, "quantity": quantity}
            rows.append({**row, "low": low, "high": high})

        def extremes(place: int, layer: str | None, quantity: str, of: Extremes | None) -> None:
            if of is not None and of.low and of.low[place] <= of.high[place]:
                add(*self.span_of(place), layer, quantity, of.low[place], of.high[place])

        for place, mean in enumerate(self.mean_losses):
            extremes(place, None, "loss", self.losses)
            if math.isfinite(mean):
                add(*self.span_of(place), None, "mean_loss", mean, mean)
            extremes(place, None, "gradient_norm", self.gradient_norms)
            for layer in self.layers:
                for quantity in QUANTITIES:
                    extremes(place, layer.name, quantity, getattr(layer, quantity))
        for look in self.validation:
            add(look.step, look.step, None, "validation_loss", look.loss, look.loss)
        return rows

    @property
    def begun(self) -> int:
        """The first step that was recorded: 0, unless a training was taken up again."""
        return self.spans[0] if self.spans else 0

    @property
    def recorded_steps(self) -> int:
        return self.steps - self.begun

    @property
    def one_batch(self) -> bool:
        return self.batches_per_pass == 1

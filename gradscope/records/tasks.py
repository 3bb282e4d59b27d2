"""Several tasks in one loss: how far their gradients agree, and what a step for all of them does to each."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class TaskSteps:
    """What one step of the optimizer does to what a task adds to the loss, on the batch of the step; each
    batch by itself, from the same weights."""

    raised: float
    """Share of the batches on which a step on the whole loss raises it."""
    before: float
    """Mean over the batches, as the next ones."""
    together: float
    """After a step on the whole loss."""
    alone: float | None
    """After a step on this task alone; `None` in a training, where the state of the optimizer still holds
    gradients of the whole loss."""


@record
class LossTask:
    """A summand of the loss that a gradient of the parameters comes back from."""

    name: str
    """Its key in the auxiliary output, or else its line."""
    source: Source | None
    compares: bool
    """It compares what the model puts out with arrays of the batch."""
    start: TaskSteps
    later: TaskSteps
    """At the weights after the short training, with the optimizer's state there."""


@record
class LayerAgreement:
    """Of two tasks' gradients of one layer; `None` where one of them is 0."""

    layer: str
    cosine: float | None
    """Mean over the batches, before the first step."""
    later: float | None
    """After the short training."""


@record
class TaskPair:
    first: str
    second: str
    cosine: float | None
    """Of their gradients of all parameters that both reach: mean over the batches, before the first step."""
    conflicting: float
    """Share of the batches on which that cosine is below 0."""
    later: float | None
    conflicting_later: float
    """The same after the short training."""
    layers: tuple[LayerAgreement, ...]
    """Those that both reach, in forward order."""


@record
class TaskGradients:
    tasks: tuple[LossTask, ...]
    pairs: tuple[TaskPair, ...]
    batches: int
    whole: tuple[float, float]
    """The loss before a step on all of it and after, as of the tasks; mean over the batches."""
    whole_later: tuple[float, float]
    left_out: int = 0
    """Further summands with a gradient."""

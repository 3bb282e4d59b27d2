"""How credit for the loss is shared out over the steps of a loop, as `check --through-time` measures it."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record

REMEMBERED = 0.01
"""A memory lasts as long as this share of the gradient is left of it."""


@record
class LayerSteps:
    """δ of one layer inside the loop, at each step."""

    layer: str
    delta_norms: tuple[float, ...]
    """Norm of ∂L/∂z of the layer's output z; steps in the order in which they run."""


@record
class Contribution:
    """What each step contributes to the gradient of something that all steps use alike.

    The gradient is a sum over the steps, for each of them uses the same weights. The norm of a summand is in
    `norms`; `shares` are its projection on the sum over the norm of the sum, so that they add up to 1. A
    share below 0 works against the rest, and shares of both signs far above 1 cancel.
    """

    parameters: tuple[str, ...]
    """A parameter, or the several of which the loop is given one value: a matrix put together of two."""
    gradient_norm: float
    """Of the sum over the steps [loss per unit of the parameter]."""
    norms: tuple[float, ...]
    """By step."""
    shares: tuple[float, ...]
    """By step; NaN where the sum is exactly zero or not finite."""


@record
class StateJacobian:
    """The recurrent Jacobian ∂(state after the step)/∂(state before it), at the values met at one step.

    All other inputs of the step are held at their values.
    """

    step: int
    """From 0, in the order in which steps run."""
    spectral_radius: float
    """The largest absolute eigenvalue, of all rows that were looked at."""
    largest_singular_value: float | None
    """How much a step can stretch a change of the state; `None` where it could not be found."""
    rows: int | None
    """Along the first axis of the state, the examples of a batch: they do not read each other, so that each
    has a Jacobian of its own, and so many were looked at. `None` where they were not told apart."""
    exact: bool
    """From all eigenvalues; else about, from a Krylov subspace."""


@record
class StateMemory:
    """How far back credit reaches through a state, or through several that feed each other (LSTM: two).

    The gradient that arrives at the state of the step `start`, the last one with any, is followed back
    through the recurrence alone: what the loss takes at earlier steps is left out.
    """

    states: int
    """How many of the carried values it consists of."""
    start: int
    """From 0: the step that this state enters."""
    followed_norms: tuple[float, ...]
    """Norm of what is followed, at the state that enters each of the steps 0 to `start`."""
    memory: int | None
    """Steps back from `start` after which it stays below `REMEMBERED` of what it was; `None`: not even at
    the first step."""
    jacobians: tuple[StateJacobian, ...] = ()


@record
class TimeCredit:
    """One loop over time."""

    name: str
    """As the `Recurrence` of the same loop."""
    source: Source | None
    length: int
    layers: tuple[LayerSteps, ...]
    contributions: tuple[Contribution, ...]
    memories: tuple[StateMemory, ...]


@record
class TruncatedGradient:
    """The gradient of one parameter, with backpropagation through time cut, against the whole one."""

    parameter: str
    lost: float
    """‖cut - whole‖ / ‖whole‖: 0 where nothing is lost, 1 where all is."""
    cosine: float | None
    """Between the two; `None` where the cut one is zero."""


@record
class Truncation:
    """Truncated backpropagation through time: no gradient goes back from a step to the one before it, where
    the number of the step, from 0, is a multiple of `steps`. In all loops over time at once."""

    steps: int
    lost: float
    """Of all parameters together, as of one."""
    cosine: float | None
    parameters: tuple[TruncatedGradient, ...]
    """Those that have a gradient."""

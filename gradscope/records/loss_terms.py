"""The loss as a sum: its terms, and what gradient comes back from each."""

from __future__ import annotations

from dataclasses import dataclass

from gradscope.records.common import Source
from gradscope.records.network import Connection, Cut


@dataclass(frozen=True, slots=True)
class ZeroDerivative:
    """A derivative that the loss takes of a function of parameters, and that none of them is connected to."""

    source: Source | None
    """The line that takes it."""
    repeated: bool
    """It is the derivative of a derivative that is not zero itself."""
    straight: tuple[str, ...]
    """The activation functions in it that are made of straight pieces: `relu`."""
    curved: tuple[str, ...]
    """The others: `tanh`."""
    activation_source: Source | None = None
    """The line of the first of `straight`."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A difference or a ratio of two values that are computed in the same way from the same parameters."""

    source: Source | None
    """Its line."""
    op: str
    """`sub`, whose result is 0, or `div`, whose result is 1."""


@dataclass(frozen=True, slots=True)
class LossTerm:
    """One summand of the loss."""

    source: Source | None
    connection: Connection
    """`CONNECTED` where a gradient of it comes back to some parameter, `BLOCKED` where it depends on
    parameters and every gradient is cut, `DISCONNECTED` where it depends on none."""
    parameters: tuple[str, ...] = ()
    """Leaves that a term without a gradient depends on, or that what is constant in it is made of."""
    cuts: tuple[Cut, ...] = ()
    """Where the gradient of a blocked term ends."""
    detached: bool = False
    """Nothing but sums and factors stands between a `stop_gradient` and the loss, or each `stop_gradient` in
    it also serves a term with a gradient: its value is added on purpose."""
    derivative: ZeroDerivative | None = None
    """In a term that no parameter is connected to, or that is connected in spite of it."""
    cancellation: Cancellation | None = None
    """The same of a difference or a ratio."""

"""The loss as a sum: its terms, and what gradient comes back from each."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.network import Connection, Cut
from gradscope.records.record import record


@record
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
    value: float = 0.0
    """What it is everywhere: 1 of a sum by what is summed."""


@record
class Cancellation:
    """A difference or a ratio of two values that are computed in the same way from the same parameters."""

    source: Source | None
    """Its line."""
    op: str
    """`sub`, whose result is 0, or `div`, whose result is 1."""


@record
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
    it also serves a term with a gradient: its value is added on purpose. Or it is the log of a density that
    is constant where it is not 0."""
    derivative: ZeroDerivative | None = None
    """In a term that no parameter is connected to, or that is connected in spite of it."""
    cancellation: Cancellation | None = None
    """The same of a difference or a ratio."""


@record
class TermImbalance:
    """A term of the loss that is averaged, and one that is a sum of what the first is computed from."""

    averaged: Source | None
    """The line that makes the elements of the first."""
    averaged_over: int
    """Elements of which the loss takes the mean."""
    summed: Source | None
    """The line that makes the elements of the second."""
    summed_over: int
    """Elements that are added up, of all that it has."""
    divisor: int
    """Elements over which such sums are averaged; 1 where there is no mean."""
    layers: tuple[str, ...]
    """Whose outputs the second is taken of, element by element."""

    @property
    def ratio(self) -> float:
        """By how much more an element of the second weighs in the loss than one of the first."""
        return self.averaged_over / self.divisor

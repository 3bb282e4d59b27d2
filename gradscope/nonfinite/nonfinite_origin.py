"""What the walk records of a value: its range, what computed it, and the origin of what is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.nonfinite.values import NonFiniteKind, ValueRange

CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One execution of an equation, and the calls and loops around it."""

    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...] = ()
    """The equations around it, innermost first."""
    steps: tuple[int, ...] = ()
    """Iteration of each loop around it, outermost first; in the backward pass that of the forward loop."""
    backward: bool = False
    primal: bool = True
    """The equation is the forward operation itself, not a part of its derivative."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The history of a value without its array: the equation, the range of its result, and its operands."""

    occurrence: Occurrence
    value_range: ValueRange
    operands: tuple[Trace, ...]
    """Those that an equation computed."""
    number: int
    """In the order of execution."""


@dataclass(frozen=True, slots=True, eq=False)
class NonFiniteOrigin:
    """Where a non-finite value first appeared: at an equation, in an input, or in a constant."""

    order: int
    """Smaller for what ran earlier; negative for what was there before anything ran."""
    kind: NonFiniteKind
    occurrence: Occurrence | None
    """`None` for an input; of a constant the first equation that takes it."""
    leaf: str | None = None
    """The input or `constant`; `None` for an equation."""
    operands: tuple[float, ...] = ()
    result: float = math.nan
    index: tuple[int, ...] = ()
    """Of the element in the result."""
    elements: int = 0
    shape: tuple[int, ...] = ()
    dtype: str = ""
    cause: NonFiniteOrigin | None = None
    """The origin of the infinity, for a NaN that an infinity became (inf - inf, 0 * inf)."""
    trace: Trace | None = None
    operand_traces: tuple[Trace | None, ...] = ()

    @property
    def preexisting(self) -> bool:
        """It is in an input or a constant, before anything runs."""
        return self.leaf is not None

    @property
    def intentional(self) -> bool:
        """An infinity that is a constant of the program, or a mask of -inf in the batch."""
        return self.kind is not NonFiniteKind.NAN and (
            self.leaf == CONSTANT or (self.preexisting and self.kind is NonFiniteKind.BELOW)
        )


Blame = Mapping[NonFiniteKind, NonFiniteOrigin]
"""The origin of each non-finite kind in a value."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of the running program."""

    value: Any
    value_range: ValueRange = field(default_factory=ValueRange)
    blame: Blame = field(default_factory=dict)
    trace: Trace | None = None


def root(origin: NonFiniteOrigin) -> tuple[NonFiniteOrigin, NonFiniteOrigin | None]:
    """The origin to report, and the origin of the NaN that an infinity became later, if it did.

    For an intentional infinity that is the operation that turned it into a NaN.
    """
    if origin.cause is None or origin.cause.intentional:
        return origin, None
    return origin.cause, origin

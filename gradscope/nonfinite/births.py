"""What the walk knows of a value: its range, what made it, and where what is bad in it was born."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.nonfinite.values import Kind, Survey

CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Place:
    """An equation, and how the run came to it."""

    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...] = ()
    """The equations around it, innermost first."""
    steps: tuple[int, ...] = ()
    """Iteration of each loop around it, outermost first; in the backward pass that of the forward loop."""
    backward: bool = False
    primal: bool = True
    """The equation is the forward operation itself, and no part of its derivative."""


@dataclass(frozen=True, slots=True)
class Trace:
    """That an equation ran, what it gave, and on what it ran: kept for all of them, without the arrays."""

    place: Place
    survey: Survey
    operands: tuple[Trace, ...]
    """Of the operands that an equation made."""
    number: int
    """In the order of execution."""


@dataclass(frozen=True, slots=True, eq=False)
class Birth:
    """The first place at which what is bad came up: an equation, an input, or a constant."""

    order: int
    """Smaller for what ran earlier; below zero for what was there before anything ran."""
    kind: Kind
    place: Place | None
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
    cause: Birth | None = None
    """For a NaN that infinities made (inf - inf, 0 * inf): where the infinity was born."""
    trace: Trace | None = None
    operand_traces: tuple[Trace | None, ...] = ()

    @property
    def was_there(self) -> bool:
        return self.leaf is not None

    @property
    def meant(self) -> bool:
        """An infinity that stands there as a constant, or a mask of -inf in the batch."""
        return self.kind is not Kind.NAN and (
            self.leaf == CONSTANT or (self.was_there and self.kind is Kind.BELOW)
        )


Blame = Mapping[Kind, Birth]
"""By kind of what is bad in a value."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of the running program."""

    value: Any
    survey: Survey = field(default_factory=Survey)
    blame: Blame = field(default_factory=dict)
    trace: Trace | None = None


def root(birth: Birth) -> tuple[Birth, Birth | None]:
    """The birth to name, and the NaN that the infinity became on its way.

    Of an infinity that was meant, what made a NaN of it is to blame.
    """
    if birth.cause is None or birth.cause.meant:
        return birth, None
    return birth.cause, birth

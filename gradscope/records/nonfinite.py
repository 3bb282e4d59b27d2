"""Where numbers stop being finite, or could."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradscope.records.common import Source


@dataclass(frozen=True, slots=True)
class NonFiniteInput:
    """A leaf of the batch that holds a NaN or an infinity before anything ran."""

    name: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class NonFiniteValue:
    """A layer whose output (`forward`) or δ (not `forward`) is not finite, in the order of execution."""

    layer: str
    forward: bool
    source: Source | None
    step: int | None = None
    """First step at which it happens, for a value inside a loop."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that ran on the way to a non-finite value, and the range of what it gave."""

    op: str
    """The primitive."""
    source: Source | None
    low: float
    """Smallest finite element of the result; NaN where no element is finite."""
    high: float
    nonfinite: int
    """Elements of the result that are NaN or infinite."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The operation at which a value that reaches the loss or a gradient stopped being finite."""

    op: str
    """The primitive, or the parameter, batch or constant leaf that held the value before anything ran."""
    derivative_of: str | None
    """The forward primitive whose derivative `op` computes; `None` in the forward pass."""
    backward: bool
    cause: str
    """Which of the known cases it is, as a slug: `log-of-zero`, `root-at-zero`, `division-by-zero`, ..."""
    source: Source | None
    operands: tuple[float, ...]
    """The operands of the forward operation at the element where it happened."""
    result: float
    """What `op` gave there: NaN or an infinity."""
    steps: tuple[int, ...] = ()
    """Iteration of each loop around it, from the outermost, counted from 0 in the order of execution."""
    elements: int = 0
    """Elements of the result in which it happened."""
    size: int = 0
    layer: str | None = None
    poisoned: tuple[str, ...] = ()
    """Parameters whose gradient it made non-finite."""
    lead_up: tuple[Operation, ...] = ()
    """The last operations before it, the oldest first."""


@dataclass(frozen=True, slots=True)
class Hazard:
    """An expression that can stop being finite, and how near its operands came to it."""

    kind: str
    """`log-of-softmax`, `root-near-zero`, `division-by-norm`, `large-exponent`, `unsafe-where`, ..."""
    op: str
    source: Source | None
    layer: str | None
    """The last layer on the way to it."""
    nearest: float
    """The measured operand nearest to the dangerous point, of those that are not on it."""
    danger: float
    """The dangerous point: 0 for a root, the largest exponent that the dtype holds for an `exp`."""
    distance: float
    """|danger - nearest|; infinite where every element lies on the point."""
    smallest: float
    """The smallest distance that the dtype can tell from none; 0 for an `exp`."""
    rounding: float
    """The distance that rounding of the terms alone can bridge; 0 where the operand is no sum of them."""
    on_it: int
    """Elements on the dangerous point or beyond it: masked, where the run is finite."""
    dtype: str

    @property
    def reached(self) -> float:
        """The share of the way to the danger, in [0, 1].

        Of the exponent range for what goes to 0, since that is how floats run out; linear for an `exp`.
        """
        if self.smallest == 0:
            share = self.nearest / self.danger
        elif 0 < self.distance < 1:
            share = math.log(self.distance) / math.log(self.smallest)
        else:
            share = 0.0
        return min(max(share, 0.0), 1.0)

"""Where numbers stop being finite, or could."""

from __future__ import annotations

import math
from enum import StrEnum

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class NonFiniteInput:
    """A leaf of the batch that holds a NaN or an infinity before anything ran."""

    name: str
    count: int
    size: int


@record
class NonFiniteValue:
    """A layer whose output (`forward`) or δ (not `forward`) is not finite, in the order of execution."""

    layer: str
    forward: bool
    source: Source | None
    step: int | None = None
    """First step at which it happens, for a value inside a loop."""


@record
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


class Cause(StrEnum):
    """The known ways in which a number stops being finite."""

    LOG_OF_ZERO = "log-of-zero"
    LOG_OF_SOFTMAX = "log-of-softmax"
    LOG_OF_SIGMOID = "log-of-sigmoid"
    LOG_OF_NEGATIVE = "log-of-negative"
    ROOT_AT_ZERO = "root-at-zero"
    NORM_AT_ZERO = "norm-at-zero"
    STD_OF_CONSTANT = "std-of-constant"
    ROOT_OF_NEGATIVE = "root-of-negative"
    DIVISION_BY_ZERO = "division-by-zero"
    ZERO_OVER_ZERO = "zero-over-zero"
    MEAN_OF_NOTHING = "mean-of-nothing"
    UNSAFE_WHERE = "unsafe-where"
    EXP_OVERFLOW = "exp-overflow"
    POWER_AT_ZERO = "power-at-zero"
    POWER_OF_NEGATIVE = "power-of-negative"
    ANGLE_AT_ORIGIN = "angle-at-origin"
    HALF_PRECISION = "half-precision-overflow"
    OVERFLOW = "overflow"
    GROWTH_IN_LOOP = "growth-in-loop"
    INFINITY_MINUS_INFINITY = "infinity-minus-infinity"
    INFINITY_OVER_INFINITY = "infinity-over-infinity"
    ZERO_TIMES_INFINITY = "zero-times-infinity"
    MASKED_ROW = "masked-row"
    OUTSIDE_INDEX = "outside-index"
    EQUAL_VALUES = "equal-values"
    SINGULAR_MATRIX = "singular-matrix"
    OUTSIDE_DOMAIN = "outside-domain"
    EDGE_OF_DOMAIN = "edge-of-domain"
    CUSTOM_RULE = "custom-rule"
    UNSEEN = "unseen-operation"
    PARAMETER = "parameter"
    BATCH = "batch"
    CONSTANT = "constant"
    OTHER = "other"


@record
class Calculation:
    """One operation at one element. Of an operation that mixes elements (a sum, a product of matrices) the
    operands are those of the largest magnitude."""

    op: str
    operands: tuple[float, ...]
    result: float


@record
class Origin:
    """The operation at which a value that reaches the loss or a gradient stopped being finite."""

    op: str
    """The primitive, or the leaf (of the parameters or the batch) that held the value before anything ran."""
    operands: tuple[float, ...]
    """What `op` got at the element where it happened."""
    result: float
    """What it gave there: NaN or an infinity."""
    made_by: tuple[str, ...]
    """The operation that computed each operand; empty for an input or a constant."""
    backward: bool
    cause: Cause
    source: Source | None
    dtype: str = ""
    """Of the result."""
    derivative_of: str | None = None
    """The forward operation (or the function with a custom rule) whose derivative `op` computes."""
    forward_operands: tuple[float, ...] = ()
    """What the forward operation got at that element; empty where it is not known."""
    became: Calculation | None = None
    """Where the infinity turned into the NaN that goes on: 0 * inf, inf / inf."""
    masked: bool = False
    """A `where` keeps the forward value out of the loss: the gradient that comes back to it is 0."""
    library: str = ""
    """The package whose function has the operation in it, called at `source`; empty for the user's own."""
    settings: tuple[str, ...] = ()
    """What begins with `eps` among the arguments of that function and of those that made it."""
    within: tuple[str, ...] = ()
    """Names of the functions around it, the innermost first: `norm`, `_softmax`."""
    steps: tuple[int, ...] = ()
    """Iteration of each loop around it, from the outermost, counted from 0 in the order in which the forward
    loop runs."""
    elements: int = 0
    """Elements of the result that are not finite."""
    size: int = 0
    layer: str | None = None
    poisoned: tuple[str, ...] = ()
    """Parameters whose gradient it made non-finite."""
    lead_up: tuple[Operation, ...] = ()
    """The last operations before it, the oldest first."""


@record
class LostInfinity:
    """An infinity that is gone before the loss: a number divided by it is 0, and passes no gradient back.

    The parameters that `origin` poisoned have a gradient of exactly zero, and another one with the largest
    finite number of the dtype in the place of the infinity: that was tried.
    """

    origin: Origin
    gone: Calculation
    """The operation that made 0 of it, at one element."""
    gone_at: Source | None
    largest: float
    """The finite number that was tried in its place."""


class HazardForm(StrEnum):
    """What the operand is of what its kind names."""

    WHOLE = "whole"
    COMPLEMENT = "complement"
    """1 less it: `log(1 - sigmoid(x))`."""
    GATHERED = "gathered"
    """Elements of it that were looked up: `softmax(x)[rows, labels]`."""


@record
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
    form: HazardForm = HazardForm.WHOLE

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

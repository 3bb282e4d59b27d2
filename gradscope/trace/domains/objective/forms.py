"""What an output is, told by the operations that made it: a softmax, a log-probability, a ReLU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.axes import shape_of


class Made(Enum):
    """By which function."""

    RELU = "ReLU"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log_softmax"
    PEAK = "maximum"
    """The largest element along an axis."""
    SHIFTED = "shifted"
    """A value less its largest element."""
    EXP = "exp"
    SUM = "sum of exponentials"
    LOG_SUM = "log of a sum of exponentials"
    CHOSEN = "chosen"
    """Scores that labels choose."""
    LOG_SIGMOID = "log_sigmoid"
    DISTANCE = "distance"
    """An output less targets."""


RANGES = {
    Made.RELU: (0.0, math.inf),
    Made.SIGMOID: (0.0, 1.0),
    Made.TANH: (-1.0, 1.0),
    Made.SOFTMAX: (0.0, 1.0),
}
NORMALIZED = frozenset({Made.SOFTMAX, Made.LOG_SOFTMAX})
PROBABILITIES = frozenset({Made.SIGMOID, Made.SOFTMAX})
LOG_PROBABILITIES = frozenset({Made.LOG_SOFTMAX, Made.LOG_SIGMOID})


@dataclass(frozen=True, slots=True)
class Form:
    """How a value was made."""

    made: Made
    of: int = 0
    """The name of the value that it was made of."""
    axes: tuple[int, ...] = ()
    """Along which it is normalized; empty once they have moved."""
    size: int = 1
    """Elements along them."""
    low: float = -math.inf
    high: float = math.inf
    scaled: bool = False
    """Times a number, or with another sign."""
    within: Form | None = None
    """Of an exponential, and of what is made of it: how its exponent was made."""
    again: bool = False
    """Normalized along one axis after another, as in Sinkhorn's iteration."""


def ranged(made: Made, **fields: object) -> Form:
    low, high = RANGES[made]
    return Form(made, low=low, high=high, **fields)  # type: ignore[arg-type]


def scaled(form: Form | None, factor: float, shift: float) -> Form | None:
    """After numbers that the program writes: `2 * p - 1`."""
    if form is not None and form.made is Made.DISTANCE and not shift:
        return form
    if form is None or form.made not in RANGES or not (math.isfinite(factor) and math.isfinite(shift)):
        return None
    ends = sorted((form.low * factor + shift, form.high * factor + shift)) if factor else (shift, shift)
    # An epsilon changes no more than the end of a range.
    return replace(form, low=ends[0], high=ends[1], scaled=form.scaled or factor != 1 or abs(shift) > 0.1)


def summed(eqn: JaxprEqn, form: Form | None) -> Form | None:
    """Of `reduce_sum`: exponentials that are added along their axes."""
    if form is None or form.made is not Made.EXP:
        return None
    (moves,) = jaxprs.moves(eqn) or [()]
    axes = tuple(axis for axis, to in enumerate(moves) if to is None)
    size = math.prod(shape_of(eqn.invars[0])[axis] for axis in axes)
    return replace(form, made=Made.SUM, axes=axes, size=size)


def quotient(a: Form | None, b: Form | None) -> Form | None:
    """Exponentials over their own sum."""
    if a is None or b is None or (a.made, b.made) != (Made.EXP, Made.SUM) or a.of != b.of:
        return None
    again = a.within is not None and a.within.made in NORMALIZED
    return ranged(Made.SOFTMAX, axes=b.axes, size=b.size, again=again)


def difference(name: int, shifted: int, before: Form | None, form: Form | None) -> Form | None:
    """Of a value, which was another one less its maximum, and the log of the sum of its exponentials.

    `before` is the form of that value.
    """
    if form is None or form.made is not Made.LOG_SUM or form.of not in (name, shifted) or not form.of:
        return None
    again = before is not None and before.made in NORMALIZED
    return Form(Made.LOG_SOFTMAX, axes=form.axes, size=form.size, high=0.0, again=again, within=form.within)


def is_likelihood(a: Form | None, b: Form | None) -> bool:
    """Scores that labels choose, less the log of the sum of the exponentials of all of them."""
    if a is None or b is None or not a.of:
        return False
    return (a.made, b.made, b.of) == (Made.CHOSEN, Made.LOG_SUM, a.of)


def is_twice(form: Form | None, axes: Sequence[int]) -> bool:
    """Exponentials of probabilities are normalized once more, along the same axes."""
    inner = form.within if form is not None else None
    return (
        inner is not None
        and not inner.scaled
        and (inner.made is Made.SIGMOID or (inner.made is Made.SOFTMAX and inner.axes == tuple(axes)))
    )

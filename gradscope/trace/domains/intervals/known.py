"""What is known of a value before anything runs: the interval it lies in, and what it is made of.

Sound where it says that a value keeps away from a dangerous point, up to what is written beside each field;
where nothing is known the interval is the whole line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

INF = math.inf


class Bound(NamedTuple):
    """What a condition says of the value with this origin."""

    origin: int
    low: float = -INF
    high: float = INF
    nonzero: bool = False


class Known(NamedTuple):
    """A tuple, since a program makes several for each of its operations."""

    low: float = -INF
    high: float = INF
    nonzero: bool = False
    """Never exactly 0, where 0 lies in the interval or at its edge: `jnp.where(x > 0, x, 1)`."""
    name: int = 0
    """Equal for values that are equal, element by element: cast, computed twice. 0: none."""
    origin: int = 0
    """The name before it was reshaped or broadcast."""
    mirror: int = 0
    """The origin of x, where this is |x| or x²: 0 exactly where x is."""
    negated: int = 0
    """The origin of x, where this is -x."""
    rounding: float = 0.0
    """It is a sum of terms that can cancel: rounding alone moves it by 2 eps to this power times its scale
    (2 for the square of such a sum). 0: it reaches 0 by underflow only."""
    tags: frozenset[str] = frozenset()
    """`softmax`, `sigmoid`, `tanh`, `complement` (1 - y), `sum`, `root`, `std`."""
    exps: frozenset[int] = frozenset()
    """Names of the exponentials of which it is a non-negative combination."""
    at_least: frozenset[int] = frozenset()
    """Names of values that are nowhere larger: those of which it is the maximum."""
    top_of: int = 0
    """The name of the value of which it is the maximum over some axes."""
    peak: bool = False
    """Its largest element along the axis to be summed is exactly 0, or 1 after `exp`."""
    holds: tuple[Bound, ...] = ()
    """For a condition: what is so where it is true."""
    fails: tuple[Bound, ...] = ()
    reads: int = 0
    """Bits of the inputs and hazards it depends on."""
    grad: int = 0
    """The same, through operations that pass a gradient on."""
    site: int | None = None
    """The last layer's site on the way to it."""

    @property
    def may_be_zero(self) -> bool:
        return self.low <= 0 <= self.high and not self.nonzero

    @property
    def constant(self) -> bool:
        return self.low == self.high

    @property
    def nonnegative(self) -> bool:
        return self.low >= 0


NOTHING = Known(INF, -INF, nonzero=True)
"""A NaN that stands for an undefined result: no number at all, so it widens no interval."""


def replace(known: Known, **changes: Any) -> Known:
    return known._replace(**changes)


def interval(*values: float) -> Known:
    """The smallest interval around these; the whole line where one of them is no number."""
    if any(math.isnan(value) for value in values):
        return Known()
    low, high = min(values), max(values)
    return Known(low, high, nonzero=low > 0 or high < 0)


def within(known: Known, bounds: Sequence[Bound]) -> Known | None:
    """The value where a condition holds; `None` where it cannot hold."""
    for bound in (each for told in bounds for each in (told, _of_negative(told, known))):
        if known.origin and bound.origin == known.origin:
            low, high = max(known.low, bound.low), min(known.high, bound.high)
            if low > high:
                return None
            known = replace(known, low=low, high=high, nonzero=known.nonzero or bound.nonzero)
    return known


def _of_negative(bound: Bound, known: Known) -> Bound:
    """What a bound on x says of this, if it is -x."""
    if not known.negated or bound.origin != known.negated:
        return bound
    return Bound(known.origin, -bound.high, -bound.low, bound.nonzero)


def either(cases: Sequence[Known]) -> Known:
    """A value that may be any of these."""
    first = cases[0]
    return Known(
        low=min(c.low for c in cases),
        high=max(c.high for c in cases),
        nonzero=not any(c.may_be_zero for c in cases),
        rounding=max(c.rounding for c in cases),
        tags=frozenset().union(*(c.tags for c in cases)),
        exps=frozenset().union(*(c.exps for c in cases)),
        at_least=frozenset.intersection(*(c.at_least for c in cases)),
        peak=all(c.peak for c in cases),
        top_of=first.top_of if len({c.top_of for c in cases}) == 1 else 0,
        reads=bits(c.reads for c in cases),
        grad=bits(c.grad for c in cases),
        site=latest(cases),
    )


def bits(values: Iterable[int]) -> int:
    total = 0
    for value in values:
        total |= value
    return total


def latest(cases: Sequence[Known]) -> int | None:
    """Sites are numbered in the order in which the program meets them."""
    return max((c.site for c in cases if c.site is not None), default=None)


def bounds_of(known: Known, low: float = -INF, high: float = INF, nonzero: bool = False) -> tuple[Bound, ...]:
    """A bound on a value, and what it means for the value whose absolute value or square it is."""
    nonzero = nonzero or low > 0 or high < 0
    found = (Bound(known.origin, low, high, nonzero),) if known.origin else ()
    if known.negated:
        found = (*found, Bound(known.negated, -high, -low, nonzero))
    return (*found, Bound(known.mirror, nonzero=True)) if known.mirror and nonzero else found

"""The interval of what an elementwise operation gives, from those of its operands; one small rule each.

Ends are those of real arithmetic, but for `exp` and `logistic`: they underflow to 0, and a sigmoid rounds
to 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.intervals.known import INF, Known, interval, replace
from gradscope.trace.jaxprs.operands import exponent
from gradscope.trace.probe import float_info

Rule = Callable[[JaxprEqn, Sequence[Known]], Known]


def monotone(function: Callable[[float], float], least: float = -INF, most: float = INF) -> Rule:
    """A function that grows with its operand, with its limits at the ends of the line."""

    def rule(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
        low = least if ins[0].low == -INF else _at(function, ins[0].low, least)
        high = most if ins[0].high == INF else _at(function, ins[0].high, most)
        return interval(low, high)

    return rule


def _at(function: Callable[[float], float], value: float, otherwise: float) -> float:
    try:
        return function(value)
    except (ValueError, OverflowError):
        return otherwise


def bounded(low: float, high: float = INF) -> Rule:
    return lambda eqn, ins: Known(low, high)


def exponential(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    base = 2.0 if eqn.primitive.name == "exp2" else math.e
    found = monotone(lambda x: base**x, 0.0)(eqn, ins)
    return replace(_underflows(eqn, found), peak=ins[0].peak)


def logistic(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    found = _underflows(eqn, monotone(lambda x: 1 / (1 + math.exp(-x)), 0.0, 1.0)(eqn, ins))
    return replace(found, tags=frozenset({"sigmoid"}))


def _underflows(eqn: JaxprEqn, found: Known) -> Known:
    return found if found.low >= tiny(eqn.outvars[0].aval) else Known(0.0, found.high)


def tiny(aval: Any) -> float:
    """The smallest normal number of an array's dtype: below it XLA may flush to 0."""
    return float(float_info(aval.dtype).tiny)


def tanh(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    return replace(monotone(math.tanh, -1.0, 1.0)(eqn, ins), tags=frozenset({"tanh"}))


def negative(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a = ins[0]
    return replace(_like(a, interval(-a.high, -a.low)), negated=a.origin)


def _like(source: Known, found: Known) -> Known:
    """What survives a change of sign or scale."""
    return replace(found, nonzero=found.nonzero or source.nonzero, rounding=source.rounding, tags=source.tags)


def add(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a, b = ins
    found = interval(a.low + b.low, a.high + b.high)
    tags = a.tags | b.tags if a.constant or b.constant else frozenset[str]()
    if any(k.constant and k.low == 1 and other.high <= 0 for k, other in ((a, b), (b, a))):
        tags |= {"complement"}
    same_sign = (a.nonnegative and b.nonnegative) or (a.high <= 0 and b.high <= 0)
    rounding = min(a.rounding, b.rounding) if same_sign else 1.0
    nonzero = found.nonzero or (same_sign and (a.nonzero or b.nonzero))
    exps = a.exps | b.exps if found.nonnegative else frozenset[int]()
    return replace(found, tags=tags, rounding=rounding, nonzero=nonzero, exps=exps)


def sub(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a, b = ins
    found = interval(a.low - b.high, a.high - b.low)
    if a.name and a.name in b.at_least:
        found = replace(interval(found.low, min(found.high, 0.0)), peak=b.top_of == a.name)
    tags = b.tags | {"complement"} if a.constant and a.low == 1 and b.low >= 0 else frozenset[str]()
    # A complement of something bounded by 1 has an absolute rounding of its own, told by the tag.
    return replace(found, tags=tags, rounding=0.0 if "complement" in tags else 1.0)


def mul(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a, b = ins
    if a.name and a.name == b.name:
        return square(eqn, [a])
    found = interval(*(times(x, y) for x, y in itertools.product(_ends(a), _ends(b))))
    learned = a.constant or b.constant or not (a.grad & b.grad)
    return replace(
        found,
        nonzero=found.nonzero or (a.nonzero and b.nonzero),
        rounding=max(a.rounding, b.rounding),
        tags=(a.tags | b.tags) - {"sum", "root"} if learned else frozenset[str](),
        exps=a.exps | b.exps if a.nonnegative and b.nonnegative else frozenset[int](),
    )


def _ends(known: Known) -> tuple[float, float]:
    return known.low, known.high


def times(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y


def square(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    return power_of(ins[0], 2)


def power_of(a: Known, degree: int) -> Known:
    ends = [_at(lambda x: x**degree, end, INF) for end in _ends(a)]
    if degree % 2 == 0 and a.low <= 0 <= a.high:
        ends.append(0.0)
    return replace(
        interval(*ends),
        nonzero=a.nonzero,
        mirror=a.origin,
        rounding=a.rounding * degree,
        tags=a.tags - {"sum", "root"},
    )


def integer_pow(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    degree = exponent(eqn)
    if degree > 0:
        return power_of(ins[0], degree)
    return reciprocal(power_of(ins[0], -degree))


def reciprocal(a: Known) -> Known:
    if a.low > 0 or a.high < 0:
        return interval(0.0 if a.high == INF else 1 / a.high, 0.0 if a.low == -INF else 1 / a.low)
    return Known(0.0) if a.nonnegative else Known()


def absolute(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a = ins[0]
    ends = [abs(a.low), abs(a.high), *([0.0] if a.low <= 0 <= a.high else [])]
    return replace(_like(a, interval(*ends)), mirror=a.origin, exps=a.exps)


def div(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a, b = ins
    if a.exps & b.exps and a.nonnegative and b.nonnegative:
        tag = "sigmoid" if b.low >= 1 and "sum" not in b.tags else "softmax"
        return Known(0.0, 1.0, tags=frozenset({tag}), exps=a.exps | b.exps)
    if a.constant and b.exps and a.low > 0 and b.low >= 1:
        return Known(0.0, a.low, tags=frozenset({"sigmoid"}))
    found = mul(eqn, [replace(a, name=0), replace(reciprocal(b), grad=b.grad)])
    return replace(
        found,
        nonzero=found.nonzero or a.nonzero,
        tags=a.tags if b.constant else frozenset(),
        exps=a.exps | b.exps if a.nonnegative and b.nonnegative else frozenset(),
    )


def maximum(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a, b = ins
    low, high = max(a.low, b.low), max(a.high, b.high)
    never = next((k.top_of for k, other in ((a, b), (b, a)) if other.constant and other.low == -INF), 0)
    return replace(
        interval(low, high),
        nonzero=low > 0 or (a.nonzero and b.nonzero) or any(k.nonnegative and k.nonzero for k in ins),
        at_least=a.at_least | b.at_least | {k.name for k in ins if k.name},
        top_of=never,
        tags=a.tags | b.tags,
    )


def minimum(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a, b = ins
    found = interval(min(a.low, b.low), min(a.high, b.high))
    below = any(k.high <= 0 and k.nonzero for k in ins)
    nonzero = found.nonzero or (a.nonzero and b.nonzero) or below
    return replace(found, nonzero=nonzero, tags=a.tags | b.tags)


def clamp(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    return minimum(eqn, [ins[2], maximum(eqn, [ins[0], ins[1]])])


def root(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    found = monotone(math.sqrt, 0.0)(eqn, ins)
    kept = ins[0].tags & {"std"} | {"root"}
    return replace(found, nonzero=found.nonzero or ins[0].nonzero, rounding=ins[0].rounding / 2, tags=kept)


def power(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    base, degree = ins
    if base.low < 0:
        return Known()
    if not degree.constant:
        return Known(0.0)
    if degree.low < 0:
        return reciprocal(power(eqn, [base, interval(-degree.low)]))
    found = interval(*(_at(lambda x: x**degree.low, end, INF) for end in _ends(base)))
    return replace(found, nonzero=base.nonzero, rounding=base.rounding * degree.low)

"""The interval of sums, selections and rearrangements of an array's elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace.domains.intervals.elementwise import power_of, times
from gradscope.trace.domains.intervals.known import INF, Known, either, interval, replace
from gradscope.trace.jaxprs.operands import pairs_same_axes


def reduce_sum(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a = ins[0]
    terms = _size(eqn.invars[0]) // max(_size(eqn.outvars[0]), 1)
    low = 1.0 if a.peak and a.nonnegative else times(terms, a.low)
    found = interval(low, times(terms, a.high))
    return replace(
        found,
        nonzero=found.nonzero or (a.nonnegative and a.nonzero and terms > 0),
        rounding=a.rounding if a.nonnegative or a.high <= 0 else 1.0,
        tags=a.tags | {"sum"},
        exps=a.exps,
    )


def _size(var: Any) -> int:
    return int(getattr(var.aval, "size", 1))


def reduce_max(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    return replace(some_of(eqn, ins), top_of=ins[0].name, at_least=ins[0].at_least | {ins[0].name})


def dot(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a, b = ins
    if a.name and a.name == b.name and pairs_same_axes(eqn):
        return replace(power_of(a, 2), high=INF, mirror=0, negated=0, tags=frozenset({"sum"}))
    if a.nonnegative and b.nonnegative:
        return Known(0.0, rounding=max(a.rounding, b.rounding), tags=frozenset({"sum"}))
    return Known(rounding=1.0, tags=frozenset({"sum"}))


def convert(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    """A cast rounds the ends: 1 - 1e-10 is 1 in float32, and 1e-10 is 0 in float16."""
    a = ins[0]
    before, after = (np.dtype(getattr(v.aval, "dtype", np.float32)) for v in (eqn.invars[0], eqn.outvars[0]))
    if before.kind == "b":
        return Known(0.0, 1.0)
    if after.kind in "iu" and before.kind not in "iu":
        return interval(*(end if math.isinf(end) else float(math.trunc(end)) for end in (a.low, a.high)))
    if after.kind not in "fV":  # bfloat16 is of kind V
        return a
    with np.errstate(over="ignore", under="ignore"):
        low, high = (float(np.asarray(end, np.float64).astype(after)) for end in (a.low, a.high))
    lost = low == 0 != a.low or high == 0 != a.high
    return replace(a, low=low, high=high, nonzero=a.nonzero and not lost)


def iota(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    return Known(0.0, float(max((*getattr(eqn.outvars[0].aval, "shape", ()), 1)) - 1))


def some_of(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    """Some of the operand's elements, in another order."""
    a = ins[0]
    return replace(a, name=0, origin=0, mirror=0, negated=0, peak=False, top_of=0, at_least=frozenset())


def looked_up(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    """Some elements, and known as such of what a log should be taken of before."""
    found = some_of(eqn, ins)
    return replace(found, tags=found.tags | {"gathered"}) if "softmax" in found.tags else found


def any_of(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    return either(list(ins))


def pad(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    return either(ins[:2])


def running_sum(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    a = ins[0]
    low, high = (a.low if a.nonnegative else -INF), (a.high if a.high <= 0 else INF)
    return Known(low, high, nonzero=a.nonzero and a.nonnegative, rounding=0.0 if a.nonnegative else 1.0)


def product(eqn: JaxprEqn, ins: Sequence[Known]) -> Known:
    """Of many factors: it underflows even where none of them is near 0."""
    return Known(0.0, 1.0 if ins[0].high <= 1 else INF) if ins[0].nonnegative else Known()

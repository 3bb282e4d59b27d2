"""What a condition says of the values it compares, and what a `where` therefore lets through."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.trace.domains.intervals.known import INF, Known, bounds_of, either, replace, within

CONDITIONS = frozenset({"eq", "ne", "gt", "ge", "lt", "le", "and", "or", "not", "is_finite"})
_TURNED = {"lt": "gt", "le": "ge"}


def condition(name: str, ins: Sequence[Known]) -> Known:
    """A boolean that remembers what it says; facts of both sides are kept where both have names."""
    if name == "not":
        return Known(0.0, 1.0, holds=ins[0].fails, fails=ins[0].holds)
    if name == "is_finite":
        return Known(0.0, 1.0, mirror=ins[0].origin, tags=frozenset({"finite"}))
    a, b = ins
    if name == "ne" and a.name and a.name == b.name:
        return Known(0.0, 0.0)  # `x != x`: is it NaN
    if name == "and":
        return Known(0.0, 1.0, holds=(*a.holds, *b.holds))
    if name == "or":
        return Known(0.0, 1.0, fails=(*a.fails, *b.fails))
    if name in _TURNED:
        name, a, b = _TURNED[name], b, a
    if name in ("eq", "ne"):
        equal = (*bounds_of(a, b.low, b.high), *bounds_of(b, a.low, a.high))
        zeros = [k for k, other in ((a, b), (b, a)) if other.low == other.high == 0]
        apart = tuple(bound for k in zeros for bound in bounds_of(k, nonzero=True))
        return Known(0.0, 1.0, holds=equal if name == "eq" else apart, fails=apart if name == "eq" else equal)
    # a > b or a >= b
    strict = name == "gt"
    more = bounds_of(a, b.low, INF, nonzero=strict and b.low >= 0)
    less = bounds_of(b, -INF, a.high, nonzero=strict and a.high <= 0)
    not_more = bounds_of(a, -INF, b.high, nonzero=not strict and b.high <= 0)
    not_less = bounds_of(b, a.low, INF, nonzero=not strict and a.low >= 0)
    return Known(0.0, 1.0, holds=(*more, *less), fails=(*not_more, *not_less))


def select(chosen: Known, cases: Sequence[Known]) -> Known:
    """`where`: each case as narrow as the condition under which it is taken."""
    if "finite" in chosen.tags and len(cases) == 2 and cases[1].origin == chosen.mirror and cases[0].constant:
        return cases[1]
    if len(cases) != 2:
        return either(cases)
    if chosen.constant:
        return cases[1 if chosen.low else 0]
    taken = (within(cases[0], chosen.fails), within(cases[1], chosen.holds))
    return either([case for case in taken if case is not None] or list(cases))


def narrowed(chosen: Known, taken_if: bool, operand: Known) -> Known | None:
    """An operand on the elements that a `where` takes from one of its cases."""
    return within(replace(operand), chosen.holds if taken_if else chosen.fails)

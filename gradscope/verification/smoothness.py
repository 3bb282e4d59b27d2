"""Kinds of functions whose derivative is a matter of choice: those that jump, stop a gradient, or iterate."""

from __future__ import annotations

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.jumps import Jumps
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Entry, Until
from gradscope.trace.nested.registry import inside
from gradscope.trace.vocabulary import is_integer, is_real
from gradscope.trace.walk import walk


def jumping(body: Body) -> tuple[bool, ...]:
    """By operand: the function depends on it through a jump, so that its derivative is a choice."""
    count = len(body.jaxpr.invars)
    outs = walk(Jumps(count), body, [1 << 2 * i for i in range(count)], ())
    found = 0
    for var, bits in zip(body.jaxpr.outvars, outs, strict=True):
        found |= bits if is_real(var.aval) else 0
    return tuple(bool(found & 2 << 2 * i) for i in range(count))


def iterates(body: Body) -> bool:
    """A loop that looks for a fixed point: one that turns as often as it must, or takes nothing new in."""
    return any(_searches(eqn) or any(map(iterates, jaxprs.inner_bodies(eqn))) for eqn in body.eqns)


def _searches(eqn: JaxprEqn) -> bool:
    carried = inside(eqn)
    if carried is None or carried.loop is None:
        return False
    return isinstance(carried.loop, Until) or _closed(carried.entries[0])


def _closed(step: Entry) -> bool:
    """No rows are scanned over, and the counter, if there is one, is only counted."""
    if step.rows:
        return False
    jaxpr = step.body.jaxpr
    counters = {var for var in jaxpr.invars[step.carried.start :] if is_integer(var.aval)}
    readers = [
        inner
        for inner in step.body.eqns
        if any(not jaxprs.is_literal(atom) and atom in counters for atom in inner.invars)
    ]
    return all(inner.primitive.name == "add" and inner.outvars[0] in jaxpr.outvars for inner in readers)


def stops(body: Body) -> bool:
    """A `stop_gradient` stands somewhere inside."""
    return jaxprs.has_primitive(body, frozenset({"stop_gradient"}))

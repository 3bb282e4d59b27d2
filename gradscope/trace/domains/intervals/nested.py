"""How what is known changes on the way into a jaxpr that an equation carries, and out of it."""

from __future__ import annotations

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.intervals.known import INF, Known, bits, either, latest, replace
from gradscope.trace.domains.located import Located, Place
from gradscope.trace.nested.contract import Entry, Until
from gradscope.trace.walk import Visit

VARIANCES = ("_var", "var")
"""Functions of `jax.numpy` whose result has a standard deviation as its root."""


class Intervals(Located[Known]):
    """Ranges of values, through everything but a loop whose length nobody knows."""

    def join(self, values: list[Known]) -> Known:
        return either(values)

    def at_site(self, value: Known, site: int) -> Known:
        return replace(value, site=site)

    def enters(self, visit: Visit[Known, Place]) -> bool:
        return not isinstance(visit.inside.loop, Until)

    def below(self, visit: Visit[Known, Place], entry: Entry) -> Place:
        """Nothing is noted where the flow pass does not enter, nor where the derivative is a rule."""
        return None if visit.inside.own_rule else super().below(visit, entry)

    def entering(self, visit: Visit[Known, Place], entry: Entry) -> list[Known]:
        ins = super().entering(visit, entry)
        if visit.inside.shards is not None:
            return [seen_across(known) for known in ins]
        changing = {*entry.carried, *entry.rows}
        return [seen_across(known) if i in changing else known for i, known in enumerate(ins)]

    def again(self, before: Known, after: Known, visit: Visit[Known, Place], *, first: bool) -> Known:
        """An end that moves within a loop moves on: to 0 where it is above, else to infinity."""
        del visit, first
        both = seen_across(either([before, after]))
        low = both.low if both.low >= before.low else 0.0 if both.low >= 0 else -INF
        high = both.high if both.high <= before.high else 0.0 if both.high <= 0 else INF
        return replace(both, low=low, high=high, nonzero=both.nonzero and not low <= 0 <= high)

    def settled(self, one: Known, other: Known) -> bool:
        return _says(one) == _says(other)

    def leaving(self, visit: Visit[Known, Place], carried: list[Known], outs: list[Known]) -> list[Known]:
        if visit.inside.own_rule:
            # The derivative is the author's own: only the range of the result is of interest.
            grad = bits(k.grad for k in visit.values)
            return [replace(out, grad=grad) for out in outs]
        if visit.inside.loop is not None:
            return [seen_across(out) for out in [*carried, *outs[len(carried) :]]]
        if visit.inside.chosen_by is not None:
            chosen = visit.values[visit.inside.chosen_by]
            return [replace(out, reads=out.reads | chosen.reads) for out in outs]
        if visit.inside.calls and jaxprs.function_name(visit.eqn) in VARIANCES:
            return [replace(out, tags=out.tags | {"std"}) for out in outs]
        return outs


def unknown(eqn: JaxprEqn, ins: list[Known]) -> list[Known]:
    """Of an equation that is not looked into: what its results are made of, and nothing of their range."""
    found = Known(reads=bits(k.reads for k in ins), grad=bits(k.grad for k in ins), site=latest(ins))
    return [found] * len(eqn.outvars)


def seen_across(known: Known) -> Known:
    """Seen from the other side of a loop: the same range, another value."""
    return replace(
        known,
        name=0,
        origin=0,
        mirror=0,
        negated=0,
        exps=frozenset(),
        at_least=frozenset(),
        top_of=0,
        peak=False,
    )


def _says(known: Known) -> tuple[object, ...]:
    """What has to stay as it is from one turn around a loop to the next."""
    return known.low, known.high, known.nonzero, known.reads, known.grad, known.tags, known.rounding

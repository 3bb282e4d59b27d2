"""A domain that knows where it is: the equations around it, and the last layer on the way to a value."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

from jax.extend.core import JaxprEqn

from gradscope.trace.nested.contract import Entry
from gradscope.trace.sites import Plan
from gradscope.trace.walk import Domain, Path, Visit

V = TypeVar("V")
Place = Plan | None
"""The plan of a jaxpr; `None` where the flow pass does not enter."""


def plan_at(plan: Place, path: Path) -> Place:
    """That of a carried jaxpr, by the indices of the equations on the way, each with the jaxpr's number."""
    for depth in range(0, len(path), 2):
        plan = None if plan is None else plan.inner.get((path[depth], path[depth + 1]))
    return plan


class Located(Domain[V, Place]):
    """Names the line and the layer of what it notes."""

    @abstractmethod
    def at_site(self, value: V, site: int) -> V:
        """The same value, which is the output of a layer."""

    def after(self, eqn: JaxprEqn, outs: list[V], place: Place, index: int) -> list[V]:
        del eqn
        site = place.taps.get(index) if place is not None else None
        return outs if site is None else [self.at_site(out, site.id) for out in outs]

    def below(self, visit: Visit[V, Place], entry: Entry) -> Place:
        return None if visit.place is None else visit.place.inner.get((visit.index, entry.number))

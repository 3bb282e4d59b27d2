"""The operations that cut the gradient of each parameter leaf, and what each of them is for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from jax.extend.core import JaxprEqn

from gradscope.records import Connection, Cut
from gradscope.trace.graph import Graph
from gradscope.trace.jaxprs import Body
from gradscope.trace.sites import CutSite, Value
from gradscope.trace.sources import source_of
from gradscope.trace.straight_through import Estimator, estimators


def cuts_of_leaves(
    body: Body, sites: Collection[CutSite], connections: Sequence[Connection], loss: Value
) -> tuple[tuple[Cut, ...], ...]:
    """Of each leaf that is blocked; nothing of the others."""
    read = [site for site in sites if site.bit & loss.reads]
    blocked = [leaf for leaf, each in enumerate(connections) if each is Connection.BLOCKED]
    stopped = any(site.leaves >> leaf & 1 for site in read if site.bit & loss.grad for leaf in blocked)
    found = estimators(Graph(body, len(connections))) if stopped else []
    by_stop = {id(stop.eqn): each for each in found for stop in each.stops}
    return tuple(
        tuple(
            dict.fromkeys(_described(site, loss, by_stop) for site in read if site.leaves >> leaf & 1)
            if connection is Connection.BLOCKED
            else ()
        )
        for leaf, connection in enumerate(connections)
    )


def cuts_of(sites: Iterable[CutSite]) -> tuple[Cut, ...]:
    """Each operation and line once."""
    return tuple(dict.fromkeys(_cut(site.eqn, site.calls, site.on_weight) for site in sites))


def _cut(eqn: JaxprEqn, calls: Sequence[JaxprEqn], on_weight: bool) -> Cut:
    return Cut(eqn.primitive.name, source_of(eqn, calls), on_weight)


def _described(site: CutSite, loss: Value, by_stop: dict[int, Estimator]) -> Cut:
    cut = _cut(site.eqn, site.calls, site.on_weight)
    if not site.bit & loss.grad:
        return cut
    estimator = by_stop.get(id(site.eqn))
    if estimator is None:
        return replace(cut, reconnects=True)
    compared = next(iter(estimator.compared), None)
    line = source_of(compared.eqn, compared.calls) if compared else None
    return replace(cut, reconnects=True, straight_through=True, compared=line)
